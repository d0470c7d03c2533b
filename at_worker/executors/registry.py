"""Which executor runs which `task_type`: the three built in, and what other packages plug in."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import EntryPoint, entry_points

from at_worker.config import Settings
from at_worker.executors.email import Email
from at_worker.executors.http_callback import HttpCallback
from at_worker.executors.rabbitmq import RabbitMQ
from at_worker.plugin import AnyExecutor

logger = logging.getLogger(__name__)

GROUP = "at_worker.executors"

BUILT_IN: dict[str, Callable[[Settings], AnyExecutor]] = {
    "http_callback": HttpCallback,
    "rabbitmq": RabbitMQ,
    "email": Email,
}


@contextmanager
def executors(settings: Settings) -> Iterator[Mapping[str, AnyExecutor]]:
    """One executor per `task_type`; all are closed at the end.

    A plug-in that does not load costs only its own tasks, which stay for a worker that can run them.
    """
    found: dict[str, AnyExecutor] = {}
    # Each is closed even where a later one cannot be made.
    with ExitStack() as closing:
        for name, kind in BUILT_IN.items():
            found[name] = kind(settings)
            closing.callback(_close, name, found[name])
        for plugin in entry_points(group=GROUP):
            if plugin.name in found:
                logger.error(
                    "Plug-in %s (%s): its task_type is taken, it is not used", plugin.name, plugin.value
                )
                continue
            if loaded := _loaded(plugin):
                found[plugin.name] = loaded
                closing.callback(_close, plugin.name, loaded)
        yield found


@contextmanager
def executor(settings: Settings, task_type: str) -> Iterator[AnyExecutor | None]:
    """The executor of one `task_type`, closed at the end; None where there is none here."""
    if task_type in BUILT_IN:
        found: AnyExecutor | None = BUILT_IN[task_type](settings)
    else:
        found = next(filter(None, map(_loaded, entry_points(group=GROUP, name=task_type))), None)
    try:
        yield found
    finally:
        if found is not None:
            _close(task_type, found)


def _loaded(plugin: EntryPoint) -> AnyExecutor | None:
    try:
        made: AnyExecutor = plugin.load()()
    except Exception:
        logger.exception("Plug-in %s (%s) does not load", plugin.name, plugin.value)
        return None
    return made


def _close(name: str, executor: AnyExecutor) -> None:
    try:
        executor.close()
    except Exception:
        logger.exception("The executor of %s does not close", name)
