"""Tasks from Python: on the caller's own connection of psycopg 3, inside its transaction, sync and async.

Each function is one of `sql/ddl.sql` (`at_schedule`, `at_cancel`, ...), so that all languages have the same.
"""

from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, overload

from at_worker import jsontext
from at_worker.jsontext import Json
from at_worker.payloads import Payload
from at_worker.store.calls import CANCEL, RESCHEDULE, RETRY, SCHEDULE, Async, Sync, call

__all__ = ["Options", "When", "cancel", "reschedule", "retry", "schedule"]

# A length of time counts from now on the database's clock.
When: TypeAlias = datetime | timedelta

NOW = timedelta()


class Options(TypedDict, total=False):
    """The columns of a row that have defaults; an option that is None counts as absent."""

    priority: int | None
    expires_at: When | None
    max_attempts: int | None
    retry_delays: Sequence[timedelta] | None
    dedupe_key: str | None
    on_duplicate: Literal["ignore", "replace", "error"] | None
    context: Mapping[str, Json] | None


@overload
def schedule(
    connection: Sync,
    task: Payload | tuple[str, Json],
    execute_at: When = NOW,
    **options: Unpack[Options],
) -> int: ...
@overload
def schedule(
    connection: Async,
    task: Payload | tuple[str, Json],
    execute_at: When = NOW,
    **options: Unpack[Options],
) -> Coroutine[Any, Any, int]: ...
def schedule(
    connection: Sync | Async,
    task: Payload | tuple[str, Json],
    execute_at: When = NOW,
    **options: Unpack[Options],
) -> int | Coroutine[Any, Any, int]:
    """Insert a task and return its id; `await` it on an asynchronous connection.

    `task` is an `HttpCallback`, `RabbitMQ` or `Email`, or a pair of task type and payload. `execute_at` is a
    datetime with a time zone, or a timedelta from now on the database's clock. Options: `priority`,
    `expires_at`, `max_attempts`, `retry_delays`, `dedupe_key`, `on_duplicate` and `context`.

    Raises ValueError for a datetime without a time zone, TypeError or ValueError for what is not JSON, and
    else what psycopg raises: `UniqueViolation` for a `dedupe_key` that is taken, where `on_duplicate` is not
    `ignore` (the default, which returns the id of that task), `InvalidParameterValue` for an unknown option.
    """
    kind, payload = task if isinstance(task, tuple) else (task.task_type, task.payload())
    parameters = {
        "task_type": kind,
        "payload": _json("payload", payload),
        **_instant("execute", execute_at),
        **_instant("expires", options.get("expires_at")),
        "options": _json("options", _rendered(options)),
    }
    task_id: int | Coroutine[Any, Any, int] = call(connection, SCHEDULE, parameters)
    return task_id


@overload
def cancel(connection: Sync, task_id: int) -> bool: ...
@overload
def cancel(connection: Async, task_id: int) -> Coroutine[Any, Any, bool]: ...
def cancel(connection: Sync | Async, task_id: int) -> bool | Coroutine[Any, Any, bool]:
    """Take a pending or processing task back; returns whether there was one."""
    found: bool | Coroutine[Any, Any, bool] = call(connection, CANCEL, {"id": task_id})
    return found


@overload
def reschedule(connection: Sync, task_id: int, execute_at: When) -> bool: ...
@overload
def reschedule(connection: Async, task_id: int, execute_at: When) -> Coroutine[Any, Any, bool]: ...
def reschedule(connection: Sync | Async, task_id: int, execute_at: When) -> bool | Coroutine[Any, Any, bool]:
    """Move a pending task; returns whether there was one."""
    parameters = {"id": task_id, **_instant("execute", execute_at)}
    found: bool | Coroutine[Any, Any, bool] = call(connection, RESCHEDULE, parameters)
    return found


@overload
def retry(connection: Sync, task_id: int) -> bool: ...
@overload
def retry(connection: Async, task_id: int) -> Coroutine[Any, Any, bool]: ...
def retry(connection: Sync | Async, task_id: int) -> bool | Coroutine[Any, Any, bool]:
    """Run a failed or cancelled task again now, with all its attempts; returns whether there was one."""
    found: bool | Coroutine[Any, Any, bool] = call(connection, RETRY, {"id": task_id})
    return found


def _instant(name: str, when: When | None) -> dict[str, str | None]:
    """The two parameters of an instant: where it is on the calendar, and how long from now; None: neither."""
    calendar = after = None
    match when:
        case datetime():
            if when.utcoffset() is None:
                raise ValueError(f"{name}_at has no time zone; give it one, as in datetime.now(UTC)")
            calendar = when.isoformat()
        case timedelta():
            after = _interval(when)
        case None:
            pass
        case _:
            raise TypeError(f"{name}_at must be a datetime or a timedelta, not {type(when).__name__}")
    return {f"{name}_at": calendar, f"{name}_after": after}


def _rendered(options: Options) -> dict[str, Json]:
    given: dict[str, Any] = {**options}
    given.pop("expires_at", None)
    if delays := options.get("retry_delays"):
        given["retry_delays"] = [_interval(delay) for delay in delays]
    return given


def _interval(length: timedelta) -> str:
    """As hours:minutes:seconds; days PostgreSQL would count by the calendar."""
    hours, rest = divmod(abs(length), timedelta(hours=1))
    return f"{'-' if length < NOW else ''}{hours}{str(rest).removeprefix('0')}"


def _json(name: str, value: Json) -> str:
    try:
        return jsontext.render_strictly(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
