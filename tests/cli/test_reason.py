"""Every state that a task can be in, without a database; test_why.py brings them about on a real one."""

from datetime import UTC, datetime, timedelta

import pytest

from at_worker.cli.reason import sentence
from at_worker.outcome import Status
from at_worker.store.circumstances import MOST_AHEAD, Facts, Locker

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
STUCK_TIMEOUT = 300.0

pytestmark = pytest.mark.usefixtures("in_utc")


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def later(**length: float) -> datetime:
    return NOW + timedelta(**length)


def why(**given: object) -> str:
    """The sentence about task 7, due just now and with two idle workers, but for what is given."""
    facts: dict[str, object] = {
        "now": NOW,
        "id": 7,
        "task_type": "email",
        "status": "pending",
        "priority": 5,
        "execute_at": NOW,
        "original_execute_at": None,
        "expires_at": None,
        "attempts": 0,
        "max_attempts": 5,
        "error_message": None,
        "updated_at": NOW,
        "started_at": None,
        "completed_at": None,
        "locked_by": None,
        "paused_at": None,
        "paused_by": None,
        "paused_why": None,
        "workers": 2,
        "takers": 2,
        "running": 0,
        "busy": None,
        "ahead": 0,
    }
    return sentence(Facts(**{**facts, **given}), STUCK_TIMEOUT)  # type: ignore[arg-type] # all by name


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"execute_at": later(hours=3)}, "Task 7 is not due until 2026-11-27 15:00:00, in 3 h."),
        (
            {"execute_at": later(hours=3), "workers": 0, "takers": 0},
            "Task 7 is not due until 2026-11-27 15:00:00, in 3 h, but no worker is alive.",
        ),
        (
            {
                "execute_at": later(hours=3),
                "paused_at": ago(hours=1),
                "paused_by": "ann",
                "paused_why": "moving\nhouse.",
            },
            (
                "Task 7 is not due until 2026-11-27 15:00:00, in 3 h,"
                " and email has been paused by ann since 2026-11-27 11:00:00: moving house."
            ),
        ),
        (
            {"execute_at": later(seconds=90), "attempts": 1, "error_message": "HTTP 503"},
            "Task 7 waits for attempt 2 of 5 until 2026-11-27 12:01:30, in 1 min 30 s: HTTP 503.",
        ),
        (
            {
                "execute_at": later(seconds=5),
                "original_execute_at": NOW,
                "error_message": "postponed: cannot connect to example.org:443",
            },
            "Task 7 is postponed until 2026-11-27 12:00:05, in 5 s: cannot connect to example.org:443.",
        ),
    ],
)
def test_a_task_that_is_not_due(given: dict[str, object], told: str) -> None:
    assert why(**given) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, " and is next at 2 workers for email."),
        ({"running": 64}, " and is next, with 64 tasks running on 2 workers for email."),
        (
            {"running": 1, "ahead": 12, "takers": 1},
            ", behind 12 due tasks, with 1 task running on 1 worker for email.",
        ),
        (
            {"running": 64, "ahead": MOST_AHEAD},
            ", behind at least 10,000 due tasks, with 64 tasks running on 2 workers for email.",
        ),
        ({"running": 32, "busy": 32}, ": all 32 threads of the 2 workers that take its type are busy."),
        (
            {"running": 2, "busy": 2, "takers": 1, "ahead": 1},
            ", behind 1 due task: all 2 threads of the worker that takes its type are busy.",
        ),
        (
            {"running": 1, "busy": 1, "takers": 1},
            ": the only thread of the worker that takes its type is busy.",
        ),
        ({"workers": 0, "takers": 0}, ", but no worker is alive."),
        ({"takers": 0}, ", but none of the workers that are alive (2) runs email."),
        (
            {"paused_at": ago(hours=1), "paused_by": "ann", "workers": 0, "takers": 0},
            ", and email has been paused by ann since 2026-11-27 11:00:00.",
        ),
        (
            {"locker": Locker(4711, "ann", "psql", ago(minutes=5)), "ahead": 3},
            (
                ", but PostgreSQL process 4711 of ann (psql) holds a lock on it since 2026-11-27 11:55:00:"
                " workers pass it over."
            ),
        ),
        (
            {"locker": Locker(4711, None, None, None)},
            ", but PostgreSQL process 4711 holds a lock on it: workers pass it over.",
        ),
    ],
)
def test_a_task_that_is_due(given: dict[str, object], told: str) -> None:
    assert why(execute_at=ago(seconds=2), **given) == f"Task 7 has been due for 2 s{told}"


def test_a_task_that_expired_before_anybody_met_it() -> None:
    assert why(expires_at=ago(minutes=1)) == (
        "Task 7 expired at 2026-11-27 11:59:00: a worker that meets it marks it as failed."
    )


def test_a_task_that_runs() -> None:
    assert why(
        status="processing",
        attempts=1,
        locked_by="w-1/abc",
        started_at=ago(seconds=12),
        updated_at=ago(seconds=3),
    ) == ("Task 7 runs on w-1/abc for 12 s, attempt 2 of 5, with a heartbeat 3 s ago.")


@pytest.mark.parametrize(
    ("silence", "workers", "told"),
    [
        (120, 1, "no heartbeat for 2 min; another worker takes it over in 3 min."),
        (600, 1, "no heartbeat for 10 min; another worker is about to take it over."),
        (600, 0, "no heartbeat for 10 min, and no worker is alive to take it over."),
    ],
)
def test_a_task_whose_worker_is_silent(silence: float, workers: int, told: str) -> None:
    assert why(
        status="processing",
        locked_by="w-1/abc",
        started_at=ago(hours=1),
        updated_at=ago(seconds=silence),
        workers=workers,
    ) == (f"Task 7 is stuck: w-1/abc, which claimed it at 2026-11-27 11:00:00, has given {told}")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {},
            "was completed at 2026-11-27 11:00:00 by w-1/a: it started 12 ms late and took 488 ms.",
        ),
        (
            {"attempts": 3, "locked_by": "w", "completed_at": NOW, "started_at": NOW, "execute_at": NOW},
            "was completed at 2026-11-27 12:00:00 by w, attempt 3 of 5: it started 0 ms late and took 0 ms.",
        ),
        ({"locked_by": None}, "was completed at 2026-11-27 11:00:00."),
    ],
)
def test_a_task_that_is_done(given: dict[str, object], told: str) -> None:
    done = {
        "status": "completed",
        "attempts": 1,
        "locked_by": "w-1/a",
        "completed_at": ago(hours=1),
        "started_at": ago(hours=1, milliseconds=488),
        "execute_at": ago(hours=1, milliseconds=500),
    }
    assert why(**{**done, **given}) == f"Task 7 {told}"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"attempts": 5, "error_message": "HTTP 503 from example.org"},
            "failed at 2026-11-27 11:00:00 after 5 of 5 attempts: HTTP 503 from example.org.",
        ),
        (
            {"error_message": "expired: not started by 2026-11-27 10:00:00Z"},
            (
                "failed at 2026-11-27 11:00:00 without an attempt, since it expired: not started by"
                " 2026-11-27 10:00:00Z."
            ),
        ),
        ({"error_message": None}, "failed at 2026-11-27 11:00:00 without an attempt: nobody noted why."),
    ],
)
def test_a_task_that_failed(given: dict[str, object], told: str) -> None:
    assert why(status="failed", updated_at=ago(hours=1), **given) == f"Task 7 {told}"


def test_a_task_that_was_cancelled() -> None:
    assert why(status="cancelled", updated_at=ago(hours=1), attempts=2) == (
        "Task 7 was cancelled at 2026-11-27 11:00:00 after 2 of 5 attempts."
    )


@pytest.mark.parametrize("status", [*Status])
@pytest.mark.parametrize("error", [None, "", "a\nb", "x" * 4096, "postponed: ", "expired"])
@pytest.mark.parametrize("due", [ago(days=9), later(days=9)])
def test_every_state_is_one_sentence(status: Status, error: str | None, due: datetime) -> None:
    told = why(status=str(status), error_message=error, execute_at=due)
    assert told.startswith("Task 7 ")
    assert told.endswith(".")
    assert not told.endswith("..")
    assert "\n" not in told
    assert len(told) < 500
