"""When a failed task is tried again."""

from collections.abc import Sequence

JITTER = 0.2
LONGEST_RETRY_AFTER = 24 * 3600.0


def backoff(attempt: int, delays: Sequence[float], chance: float) -> float:
    """Seconds to wait before attempt number `attempt` (2, 3, ...); the last delay repeats.

    `chance` in [0, 1) spreads tasks that failed together: the wait is up to a fifth longer, never shorter.
    """
    delay = delays[min(attempt - 2, len(delays) - 1)]
    return delay * (1 + JITTER * chance)
