"""The bulk function's door: batches of a Step Functions Distributed Map."""

from lambda_fn.start import Start

with Start():
    from lambda_fn.bulk import Bulk
    from lambda_fn.service import Service
    from lambda_fn.settings import read_settings

    handler = Bulk(Service.open(read_settings())).handle
