"""What a line of the log looks like: for people on a terminal, or as JSON for a collector. Either one has the request id, and no password."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from config.redaction import redacted
from orders import tracing

AS_JSON = json.JSONEncoder(default=str)
PLAIN = re.compile(r"[\w./:@<>+-]+", re.ASCII)  # a value that needs no quotes


class _WithRequestId(logging.Formatter):
    def members(self, record: logging.LogRecord) -> dict[str, Any]:
        """What stands in a line beside its message: the fields of an access line, and which request it belongs to."""
        trace = tracing.current()
        members: dict[str, Any] = dict(getattr(record, "fields", {}))
        return members | ({"request_id": trace.correlation_id} if trace is not None and trace.correlation_id else {})


class Line(_WithRequestId):
    """One line, and a traceback below it. Members follow the message as ``name=value``, or its first line if it has several."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (as logging calls it)
        line, end, rest = super().formatMessage(record).partition("\n")
        return " ".join([line, *(f"{name}={_value(value)}" for name, value in self.members(record).items())]) + end + rest

    def format(self, record: logging.LogRecord) -> str:
        return str(redacted(super().format(record)))


class JsonLine(_WithRequestId):
    """One JSON object in one line, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname, "logger": record.name, "process": record.process, "message": record.getMessage()}
        line |= self.members(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return AS_JSON.encode(redacted(line))


class NoWordsOfStrangers(logging.Filter):
    """What Django says about a request quotes it: its path, its Host, its Origin, its parameters. The access line of the same request id has route and status."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            _reduce(record, "a request was refused before any view")
            record.levelno, record.levelname, record.exc_info = logging.INFO, "INFO", None
        if record.name == "django.request":
            _reduce(record, "a request broke")
            # What is answered otherwise has been noted by whoever answered.
            return bool(record.exc_info) and getattr(record, "status_code", 500) == 500
        return True


def _reduce(record: logging.LogRecord, message: str) -> None:
    record.msg, record.args = message, ()


def _value(value: object) -> str:
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)
