"""What the logs leave out."""

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
