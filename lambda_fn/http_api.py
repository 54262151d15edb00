"""The HTTP function's door: requests of gateways, load balancers and function URLs, and direct invocations."""

from lambda_fn.start import Start

with Start():
    from lambda_fn.service import Service
    from lambda_fn.settings import read_settings
    from lambda_fn.web.api import Api

    _settings = read_settings()
    handler = Api(Service.open(_settings), _settings.base_path).handle
