"""Log lines, as text for people or as JSON for collectors, on stderr."""

import logging
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Literal, TextIO

from at_worker import jsontext, redact
from at_worker.text import visible

FIELDS = ("worker", "task_id", "task_type", "attempt", "context")


class _Text(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        # A receiver's answer or a task_type may hold line breaks; one message stays one line.
        return visible(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return redact.text(super().format(record))


class _Json(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z",
            "level": record.levelname,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        told = {name: redact.text(value) if isinstance(value, str) else value for name, value in line.items()}
        return jsontext.render(told)


class _Stderr(logging.StreamHandler[TextIO]):
    def format(self, record: logging.LogRecord) -> str:
        # A lone surrogate is no obstacle.
        return super().format(record).encode(errors="backslashreplace").decode()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Tell of a line that cannot be formatted; the standard library would print all its arguments."""
        where = f"{record.pathname}:{record.lineno}"
        why = f"a log line of {where} cannot be written: {type(sys.exception()).__name__}"
        with suppress(Exception):  # nothing can be written at all
            told = logging.makeLogRecord({"levelname": "ERROR", "levelno": logging.ERROR, "msg": why})
            self.stream.write(self.format(told) + self.terminator)


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Send the log of this process to stderr; libraries speak only when something is wrong."""
    handler = _Stderr(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("at_worker").setLevel(level)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log what nobody caught, instead of a traceback that nobody looked through."""
    if error is not None and not issubclass(kind, SystemExit):
        logging.getLogger("at_worker").critical("Uncaught exception", exc_info=(kind, error, trace))
