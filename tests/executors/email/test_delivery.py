from typing import cast

import pytest

from at_worker import Done, Fail, Outcome, Retry
from at_worker.executors.email.delivery import Broken, Delivered, Progress, Refused, Reply, conclude
from at_worker.jsontext import Json

OK = Reply(250, "2.0.0 queued")
NOBODY = Reply(550, "5.1.1 no such user")
LATER = Reply(451, "4.7.1 try later")


def concluded(before: Progress, report: Broken | Refused | Delivered) -> Outcome:
    return conclude(before, report, "SMTP server at mx:25", {"ms": 3})


def result(outcome: Outcome) -> dict[str, Json]:
    return cast("dict[str, Json]", outcome.result)


@pytest.mark.parametrize(
    ("code", "permanent"),
    [
        *((code, True) for code in (500, 550, 554, 599)),
        *((code, False) for code in (-1, 354, 421, 450, 499, 530, 534, 535, 538, 600)),
    ],
)
def test_only_5yz_is_permanent_and_a_login_never(code: int, permanent: bool) -> None:
    assert Reply(code, "").permanent is permanent


def test_a_reply_becomes_one_clean_line() -> None:
    reply = Reply.of(550, "5.7.1 no\nway\udc80 " + "x" * 1000)
    assert str(reply).startswith("550 5.7.1 no way\ufffd x")
    assert len(str(reply)) <= 304


def test_everybody_reached_is_done() -> None:
    assert concluded(Progress(("a@x", "b@x")), Delivered(OK, {})) == Done(
        {"reply": "250 2.0.0 queued", "accepted": ["a@x", "b@x"], "refused": {}, "ms": 3}
    )


def test_who_is_refused_for_good_fails_the_task_and_is_named() -> None:
    outcome = concluded(Progress(("a@x", "bad@x")), Delivered(OK, {"bad@x": NOBODY}))
    assert isinstance(outcome, Fail)
    assert outcome.reason == ("SMTP server at mx:25 refused bad@x (550 5.1.1 no such user); delivered to a@x")
    assert result(outcome)["accepted"] == ["a@x"]
    assert result(outcome)["refused"] == {"bad@x": "550 5.1.1 no such user"}


@pytest.mark.parametrize("others", [{}, {"bad@x": NOBODY}])
def test_who_is_refused_for_now_is_tried_again(others: dict[str, Reply]) -> None:
    outcome = concluded(Progress(("a@x", "bad@x", "grey@x")), Delivered(OK, {**others, "grey@x": LATER}))
    assert isinstance(outcome, Retry)
    assert "grey@x (451 4.7.1 try later)" in outcome.reason


def test_nobody_reached_for_good_fails() -> None:
    assert isinstance(concluded(Progress(("bad@x",)), Delivered(None, {"bad@x": NOBODY})), Fail)


@pytest.mark.parametrize(("reply", "kind"), [(NOBODY, Fail), (LATER, Retry), (Reply(530, "log in"), Retry)])
def test_a_refused_mail_fails_or_is_tried_again(reply: Reply, kind: type) -> None:
    outcome = concluded(Progress(("a@x",)), Refused("the mail", reply))
    assert type(outcome) is kind
    assert f"refused the mail: {reply}" in str(outcome)


def test_a_broken_conversation_is_tried_again_and_forgets_nothing() -> None:
    outcome = concluded(Progress(("a@x",), ("b@x",), {"bad@x": NOBODY}), Broken("it broke"))
    assert isinstance(outcome, Retry)
    assert outcome.reason == "it broke; delivered to b@x"
    assert result(outcome)["accepted"] == ["b@x"]
    assert result(outcome)["refused"] == {"bad@x": "550 5.1.1 no such user"}


def test_a_mail_that_no_attempt_can_carry_fails() -> None:
    assert isinstance(concluded(Progress(("a@x",)), Broken("no SMTPUTF8", permanent=True)), Fail)


def test_a_retry_leaves_out_who_was_reached_and_who_was_refused_for_good() -> None:
    previous: Json = {"accepted": ["a@x"], "refused": {"bad@x": "550 no", "grey@x": "451 later"}}
    progress = Progress.read(("a@x", "bad@x", "grey@x"), previous)
    assert progress == Progress(("grey@x",), ("a@x",), {"bad@x": Reply(550, "no")})


def test_the_last_retry_fails_for_who_was_refused_for_good_before() -> None:
    progress = Progress(("grey@x",), ("a@x",), {"bad@x": NOBODY})
    outcome = concluded(progress, Delivered(OK, {}))
    assert isinstance(outcome, Fail)
    assert "bad@x (550 5.1.1 no such user); delivered to a@x, grey@x" in outcome.reason


def test_a_failed_task_run_anew_tries_who_was_refused() -> None:
    previous: Json = {"accepted": ["a@x"], "refused": {"bad@x": "550 no"}}
    assert Progress.read(("a@x", "bad@x"), previous) == Progress(("bad@x",), ("a@x",), {})


def test_recipients_that_the_payload_no_longer_names_are_forgotten() -> None:
    previous: Json = {"accepted": ["a@x", "gone@x"], "refused": {"gone2@x": "550 no"}}
    assert Progress.read(("a@x", "b@x"), previous) == Progress(("b@x",), ("a@x",), {})


@pytest.mark.parametrize(
    "previous",
    [
        *(None, 7, "x", [], {}, {"status": 200}),
        *({"accepted": "a@x"}, {"accepted": {"a@x": 1}, "refused": []}, {"accepted": None}),
        {"refused": {"a@x": 7, "b@x": "no"}},
    ],
)
def test_a_result_of_another_make_means_a_first_attempt(previous: Json) -> None:
    assert Progress.read(("a@x", "b@x"), previous) == Progress(("a@x", "b@x"), (), {})


def test_long_lists_are_cut() -> None:
    everybody = tuple(f"a{number}@x" for number in range(100))
    outcome = concluded(Progress(everybody), Delivered(None, dict.fromkeys(everybody, NOBODY)))
    assert isinstance(outcome, Fail)
    assert outcome.reason.endswith("and 95 more")
    assert len(outcome.reason) < 300
