"""What may happen to tasks, at random: each step with how often it comes, and its arguments."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from at_worker.outcome import Done, Fail, Retry, Status
from tests.model.life import HOUR, NotStarted, Postponed, Ran, Row, TooLate

WORKERS = 3

results = st.sampled_from([None, 1, 2])
endings = st.one_of(
    st.builds(Done, results),
    st.builds(Retry, st.just("it broke"), st.none(), results),
    st.builds(Retry, st.just("it broke"), st.sampled_from([None, 3 * HOUR]), results),
    st.builds(Fail, st.just("it cannot be"), results),
    st.just(NotStarted()),
    st.just(Postponed(1)),
    st.just(TooLate()),
)
# How many hours an attempt ran, and since when its end is known and not written.
runs = st.builds(Ran, started=st.integers(-2, -1), ended=st.integers(-1, 0))
types = st.sampled_from(["a", "b"])
asked = st.builds(
    Row,
    task_type=types,
    priority=st.sampled_from([5, 9]),
    execute_at=st.sampled_from([0, -1, 1, 2]),
    expires_at=st.sampled_from([None, None, None, None, 0, 1, 2, 4, 8]),
    max_attempts=st.sampled_from([5, 3, 2, 1]),
    retry_delays=st.sampled_from([None, (2,), (1, 1, 2)]),
    dedupe_key=st.sampled_from([None, "key"]),
)
# Rows that some other program, or a person, left in the middle of a life.
found = st.builds(
    lambda row, status, **columns: replace(
        row, status=status, completed_at=-1 if status is Status.COMPLETED else None, **columns
    ),
    asked,
    st.sampled_from([*[Status.PROCESSING] * 4, Status.FAILED, *Status]),
    updated_at=st.sampled_from([-3, -2, -4, 0]),
    attempts=st.integers(0, 2),
    error_message=st.sampled_from([None, "it broke", "lost: long ago"]),
    result=results,
)
by_hand = st.sampled_from([*[Status.PENDING] * 4, Status.CANCELLED, Status.COMPLETED])
indices = st.integers(0, 7)
workers = st.integers(0, WORKERS - 1)


@dataclass(frozen=True, slots=True)
class Kind:
    """How often steps of this kind come beside the others, and with which arguments."""

    weight: int
    arguments: dict[str, st.SearchStrategy[object]]


Step = tuple[str, dict[str, object]]

KINDS = {
    "claim": Kind(
        6,
        {
            "worker": workers,
            "turn": indices,
            "room": st.integers(1, 3),
            "ahead": st.integers(0, 2),
            "reply_lost": st.sampled_from([False, False, True]),
        },
    ),
    "claim_due": Kind(
        3,
        {
            "worker": workers,
            "task_type": types,
            "priority": st.sampled_from([5, 9]),
            "since": st.integers(-2, 0),
            "room": st.integers(1, 3),
            "reply_lost": st.sampled_from([False, False, True]),
        },
    ),
    "settle": Kind(
        6,
        {
            "worker": workers,
            "ends": st.lists(st.tuples(indices, endings), min_size=1, max_size=3),
            "ran": runs,
            "reply_lost": st.booleans(),
        },
    ),
    "time_passes": Kind(4, {"hours": st.sampled_from([1, 1, 2, 3])}),
    "insert": Kind(3, {"given": asked | found}),
    "beat": Kind(3, {"worker": workers}),
    "hand_back_what_is_not_held": Kind(2, {"worker": workers}),
    "kill": Kind(1, {"worker": workers}),
    "declare_dead": Kind(2, {"holder": indices}),
    "forget_claim": Kind(
        3,
        {"row": indices, "claimed_again": st.sampled_from([True, True, False]), "reply_lost": st.booleans()},
    ),
    "pause": Kind(1, {"task_type": types, "by_hand": st.booleans()}),
    "resume": Kind(4, {"task_type": types, "by_hand": st.booleans()}),
    "cleaner_looks": Kind(3, {"worker": workers}),
    "cleaner_gives_back": Kind(4, {}),
    "cleaner_expires": Kind(2, {"worker": workers}),
    "cleaner_deletes": Kind(1, {"worker": workers}),
    "reschedule": Kind(2, {"row": indices, "hours": st.integers(0, 2)}),
    "set_status": Kind(
        3,
        {
            "row": indices,
            "status": by_hand,
        },
    ),
    "delete": Kind(2, {"row": indices}),
    "begin_and_set_status": Kind(
        2, {"row": indices, "status": st.sampled_from([Status.CANCELLED, Status.PENDING])}
    ),
    "end_transaction": Kind(2, {"commit": st.booleans()}),
}


def one_of(names: Iterable[str]) -> st.SearchStrategy[Step]:
    """A step of one of these kinds, shown as its name and its arguments."""
    return st.sampled_from([name for name in names for _ in range(KINDS[name].weight)]).flatmap(
        lambda name: st.tuples(st.just(name), st.fixed_dictionaries(KINDS[name].arguments))
    )
