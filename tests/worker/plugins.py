"""Executors that a test offers to a real worker."""

import logging
import os
import threading

from at_worker import Attempt, Fail, Outcome, Retry


class Raises:
    """Says something, and fails in a way that nobody expects."""

    def parse(self, payload: object) -> object:
        return payload

    def execute(self, payload: object, attempt: Attempt) -> Outcome:  # noqa: ARG002 - the contract's
        logging.getLogger("some.library").warning("a line of the plug-in's own")
        raise RuntimeError("nobody expects this")

    def close(self) -> None:
        """There is nothing to let go of."""


class Leaks:
    """Fails with a secret of its worker in what it says, in the way that the payload names."""

    def parse(self, payload: object) -> object:
        return payload

    def execute(self, payload: object, attempt: Attempt) -> Outcome:  # noqa: ARG002 - the contract's
        secret = os.environ["AT_SECRET_PLUGIN"]
        match payload:
            case {"do": "fail"}:
                return Fail(f"with {secret}")
            case {"do": "retry"}:
                return Retry(f"with {secret}")
            case _:
                raise RuntimeError(f"with {secret}")

    def close(self) -> None:
        """There is nothing to let go of."""


class ComesBackLate:
    """Takes no notice of its deadline, and fails in the end."""

    def parse(self, payload: object) -> float:
        assert isinstance(payload, dict)
        return float(payload["seconds"])

    def execute(self, payload: float, attempt: Attempt) -> Outcome:  # noqa: ARG002 - the contract's
        threading.Event().wait(payload)
        logging.getLogger("some.library").warning("it is late")
        raise RuntimeError("nobody waits for this any more")

    def close(self) -> None:
        """There is nothing to let go of."""
