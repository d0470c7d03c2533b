"""at-worker runs the rows of `scheduled_tasks` at their time; plug-ins import what they need from here."""

from at_worker.outcome import Done, Fail, Outcome, Retry
from at_worker.plugin import Attempt, Executor, InvalidPayload

__version__ = "1.0.0"
__all__ = ["Attempt", "Done", "Executor", "Fail", "InvalidPayload", "Outcome", "Retry", "__version__"]
