"""The queue function's door: batches of SQS messages, whose outcomes go to the results queue."""

from lambda_fn.start import Start

with Start():
    from lambda_fn.service import Service
    from lambda_fn.settings import read_settings
    from lambda_fn.sqs.batches import Batches
    from lambda_fn.sqs.results import connect

    _settings = read_settings()
    if _settings.results_queue_url is None:
        raise ValueError("RESULTS_QUEUE_URL is not set; it must be the address of the FIFO queue for the outcomes")
    handler = Batches(Service.open(_settings), connect(), _settings.results_queue_url).handle
