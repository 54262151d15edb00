"""What the function logs, whoever has set up its logger before."""

import logging
from contextlib import contextmanager

from lambda_fn.observability import logger


@contextmanager
def logged_lines():
    """Yield a list that fills with log records."""
    records = []

    class _List(logging.Handler):
        def emit(self, record):
            records.append(record)

    handler = _List()
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
