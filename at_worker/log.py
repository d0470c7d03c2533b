"""Log lines, as text for people or as JSON for collectors, on stderr.

A line of JSON names the worker, and the task that its thread is about: whatever a thread logs while it runs a
task carries it, the lines of executors, plug-ins and libraries too.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Literal, Protocol, TextIO

from at_worker import jsontext, redact
from at_worker.text import clip, visible

LONGEST_CONTEXT = 500  # characters of the producer's notes in a log line


class Subject(Protocol):
    """What a line is about: a task, and which attempt at it."""

    @property
    def id(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def attempt(self) -> int: ...


class _Here(threading.local):
    """What the lines of this thread are about, until it turns to something else."""

    subject: Subject | None = None


here = _Here()


@contextmanager
def about(subject: Subject) -> Iterator[None]:
    """What this thread logs in the block is about this task."""
    before, here.subject = here.subject, subject
    try:
        yield
    finally:
        here.subject = before


def _fields() -> dict[str, object]:
    subject = here.subject
    if subject is None:
        return {}
    fields: dict[str, object] = {
        "task_id": subject.id,
        "task_type": subject.type,
        "attempt": subject.attempt,
    }
    context = getattr(subject, "context", None)
    return fields if context is None else {**fields, "context": clip(context, LONGEST_CONTEXT)}


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

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z",
            "level": record.levelname,
            "message": record.getMessage(),
            "worker": self._worker,
            **_fields(),
        }
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


def configure(level: str, form: Literal["text", "json"], worker: str) -> None:
    """Send the log of this process, which is this worker's, to stderr.

    Libraries speak only when something is wrong.
    """
    handler = _Stderr(sys.stderr)
    handler.setFormatter(_Json(worker) if form == "json" else _Text())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("at_worker").setLevel(level)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log what nobody caught, instead of a traceback that nobody looked through."""
    if error is not None and not issubclass(kind, SystemExit):
        logging.getLogger("at_worker").critical("Uncaught exception", exc_info=(kind, error, trace))
