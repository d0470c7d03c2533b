"""How a line of a file becomes a new task, or why it does not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from at_worker import jsontext
from at_worker.executors import fields
from at_worker.jsontext import Json
from at_worker.plugin import AnyExecutor, InvalidPayload, MissingSetting
from at_worker.store.loading import NewTask
from at_worker.text import one_line

LONGEST = 64 << 20  # bytes of a line; jsonb itself ends at four times as many
KEYS = (
    "task_type",
    "payload",
    "execute_at",
    "priority",
    "expires_at",
    "max_attempts",
    "retry_delays",
    "dedupe_key",
    "context",
)
LONGEST_TYPE = 1000  # bytes, as the table has it
MOST_ATTEMPTS = 2**31 - 1
_EARLIEST = datetime(2, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)
_DIGIT = re.compile("[0-9]")

Executors = Mapping[str, AnyExecutor]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no task; `field` is None where all of it is wrong."""

    number: int
    raw: bytes
    field: str | None
    why: str

    def __str__(self) -> str:
        return f"line {self.number}: {f'{self.field}: ' if self.field else ''}{self.why}"


class Checked(NamedTuple):
    """What became of a batch of lines; `end` is how far into the file they reach, in bytes."""

    tasks: list[NewTask]
    bad: list[BadLine]
    end: int


class _Bad(Exception):
    """What is wrong with a line as a whole."""


def read(number: int, raw: bytes, executors: Executors | None) -> NewTask | BadLine:
    """Check a line, and its payload where there are `executors` to do so."""
    try:
        return _task(number, raw, executors)
    except _Bad as bad:
        return BadLine(number, raw, None, str(bad))
    except InvalidPayload as bad:
        return BadLine(number, raw, bad.field, bad.why)


def _task(number: int, raw: bytes, executors: Executors | None) -> NewTask:
    line = _text(raw)
    given = _object(line)
    if unknown := [key for key in given if key not in KEYS]:
        raise InvalidPayload(unknown[0], f"is not one of {', '.join(KEYS)}")
    _check_task_type(given)
    fields.integer(given, "priority", least=0, most=9)
    fields.integer(given, "max_attempts", least=1, most=MOST_ATTEMPTS)
    _check_delays(given.get("retry_delays"))
    task = NewTask(
        number=number,
        line=line,
        execute_at=_instant(given, "execute_at"),
        expires_at=_instant(given, "expires_at"),
        keyed=fields.text(given, "dedupe_key") is not None,
    )
    if executors is not None:
        _check_payload(given, executors)
    return task


def _text(raw: bytes) -> str:
    if len(raw) > LONGEST:
        raise _Bad(f"is longer than {LONGEST >> 20} MiB")
    try:
        # The editors of some systems put this mark before the first line.
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Bad("is not UTF-8") from None


def _object(line: str) -> Mapping[str, Json]:
    try:
        given = jsontext.parse(line)
    except ValueError as error:
        raise _Bad(str(error).replace(": line 1 column ", " at column ")) from None
    if not isinstance(given, Mapping):
        raise _Bad(f"must be an object, not {fields.kind(given)}")
    return given


def _check_task_type(given: Mapping[str, Json]) -> None:
    task_type = fields.text(given, "task_type")
    if not task_type:
        raise InvalidPayload("task_type", "is missing" if task_type is None else "is empty")
    if len(fields.utf8("task_type", task_type)) > LONGEST_TYPE:
        raise InvalidPayload("task_type", f"is longer than {LONGEST_TYPE} bytes")


def _check_delays(value: Json) -> None:
    """What PostgreSQL says of an interval names neither the field nor the form."""
    if value is None:
        return
    if not isinstance(value, list) or not all(_may_be_delay(item) for item in value):
        raise InvalidPayload("retry_delays", 'must be an array like ["30 s", "5 min", "1 h"]')


def _may_be_delay(value: Json) -> bool:
    match value:
        case bool():
            return False
        case int():
            return value >= 0
        case str():
            return _DIGIT.search(value) is not None
        case _:
            return False


def _instant(given: Mapping[str, Json], name: str) -> str | None:
    value = fields.text(given, name)
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidPayload(name, f"{value!r} is not ISO 8601, like 2026-12-24T18:00:00+01:00") from None
    if instant.utcoffset() is None:
        raise InvalidPayload(name, f"{value!r} has no offset; add one, like +01:00 or Z")
    if not _EARLIEST <= instant <= _LATEST:
        raise InvalidPayload(name, "must be from the year 2 to 9998")
    return instant.isoformat()


def _check_payload(given: Mapping[str, Json], executors: Executors) -> None:
    task_type = str(given["task_type"])
    executor = executors.get(task_type)
    if executor is None:
        known = ", ".join(sorted(executors))
        raise InvalidPayload("task_type", f"{task_type!r} is unknown here; known are {known}")
    try:
        executor.parse(given.get("payload", {}))
    except InvalidPayload as bad:
        where = bad.field if bad.field == "payload" else f"payload.{bad.field}"
        raise InvalidPayload(where, bad.why) from None
    except MissingSetting:
        pass  # the workers may have what this machine lacks
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the worker would retry it
        raise InvalidPayload("payload", one_line(error)) from None
