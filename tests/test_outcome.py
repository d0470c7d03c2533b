import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_worker.jsontext import Json
from at_worker.outcome import (
    Done,
    Fail,
    Outcome,
    Retry,
    Run,
    Settlement,
    Status,
    expire,
    hand_back,
    resolve,
    resolve_lost,
)
from at_worker.task import Claim, Task

DAY = 86_400.0
DEFAULTS = (30.0, 120.0)
NOW = 1_000.0
RUN = Run(started=990.0, ended=999.0)
TASK = Task(
    claim=Claim(7, 3),
    uid="6f1c5a52-8f0e-4d53-9a3a-0c9d6f1f2a11",
    type="probe",
    priority=5,
    payload="{}",
    context="{}",
    result=None,
    scheduled_at=datetime(2030, 5, 17, tzinfo=UTC),
    attempts=0,
    max_attempts=5,
    retry_delays=(),
    expires=None,
    instant=989.0,
    due=989.0,
)


def resolved(outcome: Outcome, task: Task = TASK) -> Settlement:
    return resolve(task, outcome, now=NOW, run=RUN, default_delays=DEFAULTS)


def lost(task: Task = TASK, *, again: bool = False) -> Settlement:
    return resolve_lost(task, "lost", again=again, now=NOW, default_delays=DEFAULTS)


def stored(result: Any) -> str:  # noqa: ANN401 - a plug-in may return anything
    written = resolved(Done(result)).result
    assert written is not None
    return written


def test_success_completes_the_task_and_keeps_what_came_back() -> None:
    assert resolved(Done({"status": 204})) == Settlement(
        TASK, Status.COMPLETED, result='{"status":204}', started=990.0, ended=999.0
    )


def test_success_without_a_result_stores_none() -> None:
    assert resolved(Done()).result is None


def test_success_after_the_expiry_is_still_success() -> None:
    assert resolved(Done(), TASK._replace(expires=NOW - 1)).status is Status.COMPLETED


def test_a_failure_for_good_ends_the_task_at_its_first_attempt() -> None:
    settled = resolved(Fail("HTTP 410", {"status": 410}))
    assert (settled.status, settled.error, settled.result) == (Status.FAILED, "HTTP 410", '{"status":410}')
    assert settled.delay is None
    assert settled.attempted


def test_a_failure_that_may_pass_waits_for_the_next_attempt() -> None:
    settled = resolved(Retry("HTTP 503", result={"status": 503}))
    assert (settled.status, settled.error, settled.result) == (Status.PENDING, "HTTP 503", '{"status":503}')
    assert settled.delay is not None
    assert 30 <= settled.delay <= 36
    assert (settled.started, settled.ended) == (990.0, 999.0)
    assert settled.attempted


def test_the_last_attempt_but_one_is_tried_again() -> None:
    assert resolved(Retry("no"), TASK._replace(attempts=3)).status is Status.PENDING


@pytest.mark.parametrize("attempts", [4, 5, 2_147_483_647])
def test_a_task_without_attempts_left_fails(attempts: int) -> None:
    settled = resolved(Retry("no"), TASK._replace(attempts=attempts))
    assert (settled.status, settled.error, settled.delay) == (Status.FAILED, "no", None)


def test_at_most_once_is_one_attempt() -> None:
    assert resolved(Retry("no"), TASK._replace(max_attempts=1)).status is Status.FAILED


def test_a_retry_after_the_expiry_fails_with_the_real_error() -> None:
    settled = resolved(Retry("HTTP 503"), TASK._replace(expires=NOW + 29))
    assert (settled.status, settled.error, settled.delay) == (Status.FAILED, "expired: HTTP 503", None)


def test_a_retry_at_the_very_instant_of_the_expiry_is_too_late() -> None:
    settled = resolved(Retry("no"), TASK._replace(retry_delays=(0.0,), expires=NOW))
    assert settled.status is Status.FAILED


def test_a_retry_before_the_expiry_is_tried() -> None:
    assert resolved(Retry("no"), TASK._replace(expires=NOW + 37)).status is Status.PENDING


def test_a_task_without_attempts_left_does_not_claim_to_have_expired() -> None:
    settled = resolved(Retry("no"), TASK._replace(max_attempts=1, expires=NOW + 1))
    assert settled.error == "no"


@pytest.mark.parametrize(("attempts", "delay"), [(0, 30), (1, 120), (2, 120)])
def test_a_row_without_delays_of_its_own_uses_the_configured_ones(attempts: int, delay: float) -> None:
    settled = resolved(Retry("no"), TASK._replace(attempts=attempts))
    assert settled.delay is not None
    assert delay <= settled.delay <= delay * 1.2


@pytest.mark.parametrize(("attempts", "delay"), [(0, 1), (1, 2), (2, 2)])
def test_the_delays_of_the_row_win(attempts: int, delay: float) -> None:
    settled = resolved(Retry("no"), TASK._replace(attempts=attempts, retry_delays=(1.0, 2.0)))
    assert settled.delay is not None
    assert delay <= settled.delay <= delay * 1.2


@given(delay=st.floats(0, 3.15e9), after=st.none() | st.floats(0, 1e12))
def test_a_wait_is_the_longer_of_delay_and_retry_after_and_at_most_a_fifth_more(
    delay: float, after: float | None
) -> None:
    asked = min(after or 0.0, DAY)
    settled = resolved(Retry("no", after), TASK._replace(retry_delays=(delay,)))
    assert settled.delay is not None
    assert max(delay, asked) <= settled.delay <= max(delay * 1.2, asked)


def test_waits_differ_so_that_tasks_that_failed_together_part() -> None:
    assert len({resolved(Retry("no")).delay for _ in range(20)}) > 1


def test_a_longer_retry_after_is_honoured() -> None:
    assert resolved(Retry("no", after=3600)).delay == 3600


def test_a_shorter_retry_after_changes_nothing() -> None:
    settled = resolved(Retry("no", after=1))
    assert settled.delay is not None
    assert settled.delay >= 30


def test_a_retry_after_of_years_is_cut_to_a_day() -> None:
    assert resolved(Retry("no", after=1e9)).delay == DAY


def test_a_delay_of_the_row_may_be_longer_than_a_day() -> None:
    settled = resolved(Retry("no"), TASK._replace(retry_delays=(7 * DAY,)))
    assert settled.delay is not None
    assert settled.delay >= 7 * DAY


def test_a_retry_after_beyond_the_expiry_fails_at_once() -> None:
    settled = resolved(Retry("busy", after=3600), TASK._replace(expires=NOW + 600))
    assert (settled.status, settled.error) == (Status.FAILED, "expired: busy")


def test_a_task_lost_for_the_first_time_is_due_at_once() -> None:
    settled = lost()
    assert (settled.status, settled.delay, settled.attempted) == (Status.PENDING, 0.0, True)


def test_nobody_knows_when_a_lost_attempt_ran() -> None:
    assert (lost().started, lost().ended) == (None, None)


def test_a_task_lost_again_waits_for_its_delay() -> None:
    settled = lost(TASK._replace(attempts=1), again=True)
    assert settled.delay is not None
    assert 120 <= settled.delay <= 144


def test_a_loss_uses_an_attempt_up() -> None:
    assert lost(TASK._replace(attempts=4)).status is Status.FAILED


def test_a_lost_task_that_expired_meanwhile_fails_with_the_real_error() -> None:
    settled = lost(TASK._replace(expires=NOW - 1))
    assert (settled.status, settled.error) == (Status.FAILED, "expired: lost")


def test_a_task_handed_back_keeps_its_time_its_error_and_its_attempts() -> None:
    assert hand_back(TASK) == Settlement(TASK, Status.PENDING, attempted=False)


def test_a_task_that_expired_before_its_start_has_used_no_attempt() -> None:
    settled = expire(TASK)
    assert (settled.status, settled.attempted) == (Status.FAILED, False)
    assert settled.error is not None
    assert settled.error.startswith("expired")


@pytest.mark.parametrize("outcome", [Fail("x" * 5000), Retry("x" * 5000)])
def test_an_error_is_cut_to_4096_characters(outcome: Outcome) -> None:
    error = resolved(outcome).error
    assert error is not None
    assert len(error) == 4096
    assert error.endswith("x…")


def test_an_error_that_expired_keeps_its_beginning_when_it_is_cut() -> None:
    error = resolved(Retry("x" * 5000), TASK._replace(expires=NOW)).error
    assert error is not None
    assert error.startswith("expired: x")
    assert len(error) == 4096


def test_an_error_holds_nothing_that_postgresql_refuses() -> None:
    assert resolved(Fail("a\x00b\ud800c")).error == "a\ufffdb\ufffdc"


def test_a_result_keeps_every_digit() -> None:
    assert stored([Decimal("0.10"), 12345678901234567890]) == "[0.10,12345678901234567890]"


def test_a_result_holds_nothing_that_postgresql_refuses() -> None:
    assert json.loads(stored({"a\x00": "\ud800", "\\": "\\u0000"})) == {
        "a\ufffd": "\ufffd",
        "\\": "\\u0000",
    }


def test_a_number_that_json_does_not_know_becomes_null() -> None:
    assert stored([float("nan"), float("inf"), Decimal("NaN")]) == "[null,null,null]"


def test_a_value_that_json_does_not_know_becomes_a_text() -> None:
    assert stored({"at": datetime(2030, 5, 17, tzinfo=UTC)}) == '{"at":"2030-05-17 00:00:00+00:00"}'


def test_a_circular_result_does_not_undo_the_success() -> None:
    circle: dict[str, Any] = {}
    circle["itself"] = circle
    assert resolved(Done(circle)).status is Status.COMPLETED
    assert isinstance(json.loads(stored(circle)), str)


def test_a_result_nested_too_deeply_does_not_undo_the_success() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    settled = resolved(Done(nested))
    assert settled.status is Status.COMPLETED


def test_a_result_whose_text_cannot_be_had_does_not_undo_the_success() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    broken: Any = Broken()
    assert resolved(Done(broken)).status is Status.COMPLETED


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(exclude_categories=())),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner),
        max_leaves=10,
    )
)
def test_every_result_becomes_json_that_can_be_stored(result: Json) -> None:
    written = resolved(Done(result)).result
    assert (written is None) == (result is None)
    if written is not None:
        written.encode()
        json.loads(written)
        assert "\x00" not in written
