"""at-worker runs the rows of `scheduled_tasks` at their time.

Programs that schedule tasks, and plug-ins that carry them out, import what they need from here.
"""

from typing import TYPE_CHECKING

from at_worker.outcome import Done, Fail, Outcome, Retry
from at_worker.payloads import Attachment, Email, HttpCallback, RabbitMQ, Secret
from at_worker.plugin import Attempt, Executor, InvalidPayload

if TYPE_CHECKING:
    from at_worker.producer import schedule
else:

    def __getattr__(name: str) -> object:
        """Load psycopg for programs that schedule, not for all that import a name from here."""
        if name == "schedule":
            from at_worker.producer import schedule  # noqa: PLC0415 - the reason is above

            return schedule
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "1.0.0"
__all__ = [
    "Attachment",
    "Attempt",
    "Done",
    "Email",
    "Executor",
    "Fail",
    "HttpCallback",
    "InvalidPayload",
    "Outcome",
    "RabbitMQ",
    "Retry",
    "Secret",
    "__version__",
    "schedule",
]
