"""The door of CodeDeploy's hook before traffic."""

from lambda_fn.hook import connect, make_handler
from lambda_fn.observability import Log
from lambda_fn.settings import read_settings

_settings = read_settings()
handler = make_handler(_settings, Log(_settings), connect("lambda"), connect("codedeploy"))
