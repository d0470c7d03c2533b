"""`noop`: {"n": ...}. Notes when it started in the slot of its number, and does nothing else."""

from at_worker import Attempt, Done, InvalidPayload, Outcome
from bench import marks


class NoOp:
    """The least that a task can be."""

    def __init__(self) -> None:
        self._marks = marks.inherited()

    def parse(self, payload: object) -> int:
        """The number of the task."""
        number = payload.get("n") if isinstance(payload, dict) else None
        if not isinstance(number, int):
            raise InvalidPayload("n", "must be a whole number")
        return number

    def execute(self, number: int, attempt: Attempt) -> Outcome:  # noqa: ARG002 - the contract's signature
        """Start and end."""
        self._marks.mark(number)
        return Done()

    def close(self) -> None:
        """There is nothing to let go of."""
