"""One line of JSON per happening, on standard error; never an address, a token or a body."""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """Send our own lines and those of libraries to standard error, from `level` on.

    Libraries that log requests are held back to warnings: their lines carry URLs.
    """
    number = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=max(number, logging.WARNING), format="%(levelname)s %(name)s: %(message)s")
