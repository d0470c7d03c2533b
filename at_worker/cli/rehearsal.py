"""What a task would send, without sending it."""

import threading
import time
from collections.abc import Mapping

from at_worker import redact
from at_worker.cli.errors import DatabaseRefuses, Failed
from at_worker.cli.show import shown
from at_worker.config import Settings
from at_worker.engine.attempts import parse_or_none, parse_payload
from at_worker.jsontext import render_readable
from at_worker.plugin import AnyExecutor, Attempt, InvalidPayload, MissingSetting
from at_worker.store.details import Details
from at_worker.text import one_line


def rehearse(given: Settings, task: Details) -> str:
    """The text of what the next attempt would send, by this machine's settings. Raises Failed."""
    from at_worker.executors.registry import executor  # noqa: PLC0415 - other commands do without it

    if task.payload is None:
        raise DatabaseRefuses("your role may not see payloads; that takes the rights of at_worker")
    with executor(given, task.task_type) as known:
        if known is None:
            raise Failed(f"nothing on this machine knows {task.task_type}: its plug-in is not installed here")
        try:
            return _described(known, task, task.payload, given.task_timeout)
        except InvalidPayload as error:
            raise Failed(f"task {task.id} would fail: {error}") from None
        except MissingSetting as error:
            raise Failed(f"task {task.id} would be tried again: {error}") from None
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the worker would retry it
            raise Failed(f"task {task.id} would be tried again: {one_line(error)}") from None


def _described(executor: AnyExecutor, task: Details, payload: str, seconds: float) -> str:
    parsed = executor.parse(parse_payload(payload))
    describe = getattr(executor, "describe", None)
    if describe is None:
        return f"{task.task_type} does not tell what it sends; it takes this payload:\n\n{_readable(payload)}"
    return str(redact.result(describe(parsed, _attempt(task, seconds))))


def _attempt(task: Details, seconds: float) -> Attempt:
    """The next attempt, as a worker would make it."""
    context = parse_or_none(task.context)
    return Attempt(
        task_id=task.id,
        task_uid=task.task_uid,
        number=task.attempts + 1,
        scheduled_at=task.original_execute_at or task.execute_at,
        context=context if isinstance(context, Mapping) else {},
        previous=parse_or_none(task.result),
        deadline=time.monotonic() + seconds,
        stopping=threading.Event(),
    )


def _readable(payload: str) -> str:
    return render_readable(shown(payload))
