"""A task that has a thread, and how it can leave it."""

from dataclasses import dataclass
from enum import Enum, auto

from at_worker.task import Task


class Left(Enum):
    """How a task left its thread: ended, to wait for another and begin again, or to end elsewhere."""

    ENDED = auto()
    WAITING = auto()
    ELSEWHERE = auto()


@dataclass(slots=True, eq=False)
class Running:
    """A task that has a thread; instants are monotonic seconds.

    Known by itself, not by its claim: a task that waited for another may begin in a second thread before it
    has left the first. `started` is the instant itself until its thread, which is early, has started it.
    """

    task: Task
    started: float
    deadline: float
