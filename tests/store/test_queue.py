"""What the statements of the queue promise, whoever calls them."""

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from at_worker.outcome import Settlement, Status
from at_worker.store.claiming import SURVEY
from at_worker.store.database import Database
from at_worker.store.lanes import Lane
from at_worker.store.queue import Batch, Queue
from at_worker.store.schema import BESIDE, TABLE
from at_worker.store.session import addressed
from at_worker.store.settling import Leftover
from tests.tables import Table


def _ids(batch: Batch) -> list[int]:
    return [task.id for task in batch.tasks]


def test_a_claim_takes_no_more_than_its_room(table: Table, queue: Queue) -> None:
    for n in range(30):
        table.insert(f"type-{n % 3}", priority=n % 10)
    assert [queue.claim(7, turn).size for turn in range(5)] == [7, 7, 7, 7, 2]


def test_a_claim_locks_no_more_rows_than_it_takes(table: Table, queue: Queue) -> None:
    for n in range(30):
        table.insert(f"type-{n % 3}")
    queue.claim(7, 0)
    # A row that was locked and left alone shows its locker in xmax.
    assert table.sql("SELECT count(*) AS n FROM scheduled_tasks WHERE status = 'pending' AND xmax <> 0") == [
        {"n": 0}
    ]


def test_a_higher_priority_goes_first(table: Table, queue: Queue) -> None:
    low, high, middle = (table.insert(priority=priority) for priority in (0, 9, 5))
    assert _ids(queue.claim(10, 0)) == [high, middle, low]


def test_within_a_type_the_earlier_instant_goes_first_and_then_the_lower_id(
    table: Table, queue: Queue
) -> None:
    late, early, same = (table.insert(execute_at=f"2020-01-0{day}T00:00:00Z") for day in (3, 1, 1))
    assert _ids(queue.claim(10, 0)) == [early, same, late]


def test_a_flood_of_one_type_does_not_starve_another(table: Table, queue: Queue) -> None:
    for _ in range(20):
        table.insert("flood")
    trickle = [table.insert("trickle"), table.insert("trickle")]
    claimed = [task_id for turn in range(4) for task_id in _ids(queue.claim(1, turn))]
    assert set(trickle) <= set(claimed)


def test_a_higher_priority_does_not_wait_for_the_turn_of_its_type(table: Table, queue: Queue) -> None:
    for _ in range(5):
        table.insert("a")
    urgent = table.insert("b", priority=6)
    for turn in range(2):
        assert _ids(queue.claim(1, turn))[0] == urgent
        queue.hand_back_unheld([])


def test_a_worker_for_some_types_leaves_the_others(table: Table, database: Database) -> None:
    table.insert("a", priority=9)
    wanted = table.insert("b")
    assert _ids(Queue(database, "w-1/boot", ["b", "c"]).claim(10, 0)) == [wanted]


def test_locked_rows_are_skipped(table: Table, queue: Queue) -> None:
    locked, free = table.insert(), table.insert()
    person = Table(table.dsn)
    person.sql("BEGIN")
    person.sql("SELECT FROM scheduled_tasks WHERE id = %(id)s FOR UPDATE", id=locked)
    assert _ids(queue.claim(10, 0)) == [free]
    person.close()


def test_a_claim_of_one_lane_takes_what_is_due_there_and_nothing_else(table: Table, queue: Queue) -> None:
    day = "2020-01-0{}T00:00:00Z"
    late, early, older = (table.insert("a", execute_at=day.format(n)) for n in (3, 2, 1))
    table.insert("a", priority=6)
    table.insert("b")
    table.sql("INSERT INTO scheduled_tasks (task_type, execute_at) VALUES ('a', now() + interval '1 s')")
    since = table.row(early)["execute_at"].timestamp()
    assert _ids(queue.claim_due(Lane("a", 5), since, 1)) == [early]
    assert _ids(queue.claim_due(Lane("a", 5), since, 10)) == [late]
    assert _ids(queue.claim_due(Lane("a", 5), 0.0, 10)) == [older]
    assert queue.claim_due(Lane("a", 5), 0.0, 10).size == 0


def test_a_claim_of_one_lane_brings_tasks_in_their_order(table: Table, queue: Queue) -> None:
    late, early, same = (table.insert("a", execute_at=f"2020-01-0{day}T00:00:00Z") for day in (3, 1, 1))
    assert _ids(queue.claim_due(Lane("a", 5), 0.0, 10)) == [early, same, late]


def test_the_next_due_instant_is_told_also_when_nothing_is_due(table: Table, queue: Queue) -> None:
    assert queue.claim(10, 0).next_due is None
    queue.forget_lanes()
    table.sql("INSERT INTO scheduled_tasks (task_type, execute_at) VALUES ('a', now() + interval '100 s')")
    table.sql("INSERT INTO scheduled_tasks (task_type, execute_at) VALUES ('b', now() + interval '50 s')")
    table.insert("c")
    batch = queue.claim(10, 0)
    assert batch.next_due is not None
    assert (len(batch.tasks), 49 < batch.next_due < 51) == (1, True)


def _in(table: Table, seconds: float, kind: str = "a") -> int:
    (row,) = table.sql(
        "INSERT INTO scheduled_tasks (task_type, execute_at)"
        " VALUES (%(kind)s, now() + %(seconds)s * interval '1 s') RETURNING id",
        kind=kind,
        seconds=seconds,
    )
    return int(row["id"])


def _left(batch: Batch) -> tuple[bool, float | None]:
    """Whether there may be more at once, and in how many seconds, to the next ten, there can be."""
    return batch.more, None if batch.next_due is None else round(batch.next_due, -1)


def test_where_only_one_lane_has_rows_a_full_batch_tells_how_near_the_next_can_be(
    table: Table, queue: Queue
) -> None:
    assert queue.claim(2, 0).size == 0
    later, soon, sooner = (_in(table, seconds) for seconds in (500, 300, 200))
    due = [table.insert("a") for _ in range(3)]
    queue.announced(Lane("a", 5), 0.0)
    assert queue.claim(1, 1, ahead=1, look_ahead=1000).more  # a survey tells no more
    batch = queue.claim(1, 2, ahead=1, look_ahead=1000)
    assert (_ids(batch), batch.more) == ([due[1]], True)
    batch = queue.claim(2, 3, ahead=2, look_ahead=1000)
    assert (_ids(batch), _left(batch)) == ([due[2], sooner], (False, 200))
    batch = queue.claim(1, 4, ahead=1, look_ahead=1000)
    assert (_ids(batch), _left(batch)) == ([soon], (False, 300))
    batch = queue.claim(2, 5, ahead=2, look_ahead=400)
    assert (batch.size, _left(batch)) == (0, (False, 500))
    batch = queue.claim(2, 6, ahead=2, look_ahead=1000)
    assert (_ids(batch), _left(batch)) == ([later], (False, None))


def test_a_near_row_that_was_locked_when_its_neighbours_were_claimed_is_found_again(
    table: Table, queue: Queue
) -> None:
    """Nobody announces that a lock is gone."""
    assert queue.claim(2, 0).size == 0
    locked, free = _in(table, 200), _in(table, 300)
    queue.announced(Lane("a", 5), 0.0)
    queue.claim(1, 1)
    person = Table(table.dsn)
    person.sql("BEGIN")
    person.sql("SELECT FROM scheduled_tasks WHERE id = %(id)s FOR UPDATE", id=locked)
    assert _ids(queue.claim(2, 2, ahead=2, look_ahead=1000)) == [free]
    person.close()
    assert _ids(queue.claim(2, 3, ahead=2, look_ahead=1000)) == [locked]


def test_a_row_is_found_whatever_its_id(table: Table, queue: Queue) -> None:
    table.insert("a")
    assert queue.claim(2, 0).size == 1
    table.sql(
        "INSERT INTO scheduled_tasks (id, task_type, execute_at)"
        " SELECT id, 'a', '2020-01-01 00:00:00Z' FROM generate_series(-2, -1) id"
    )
    instant = table.row(-1)["execute_at"].timestamp()
    assert _ids(queue.claim_due(Lane("a", 5), instant, 1)) == [-2]
    queue.announced(Lane("a", 5), instant)
    assert _ids(queue.claim(2, 1)) == [-1]


def test_the_only_lane_of_a_worker_is_the_only_one_of_its_types(table: Table, database: Database) -> None:
    table.insert("b")
    mine, near = table.insert("a"), _in(table, 100)
    queue = Queue(database, "w-1/boot", ["a"], survey_interval=1e9)
    assert _ids(queue.claim(1, 0)) == [mine]
    batch = queue.claim(1, 1, ahead=1, look_ahead=1000)
    assert (_ids(batch), _left(batch)) == ([near], (False, 100))


def test_of_several_lanes_nobody_knows_what_a_claim_has_left_that_brought_all_it_could(
    table: Table, queue: Queue
) -> None:
    assert queue.claim(2, 0).size == 0
    for kind in ("a", "b"):
        _in(table, 200, kind)
        queue.announced(Lane(kind, 5), 0.0)
    assert queue.claim(1, 1, ahead=1, look_ahead=1000).more
    assert queue.claim(2, 2, ahead=1, look_ahead=1000).more
    assert _left(queue.claim(2, 3, ahead=1, look_ahead=1000)) == (False, None)


def test_extreme_columns_of_one_row_do_not_disturb_the_others(table: Table, queue: Queue) -> None:
    tasks = [
        table.insert(retry_delays=["-1 day", "170000000 years", "1 month"]),
        table.insert(execute_at="0002-01-01T00:00:00Z"),
        table.insert(expires_at="9998-12-31T00:00:00Z"),
        table.insert(max_attempts=2147483647, attempts=2147483646),
        table.insert(),
    ]
    table.sql(
        "UPDATE scheduled_tasks SET payload = ('[' || repeat('9', 5000) || ']')::jsonb WHERE id = %(i)s",
        i=tasks[4],
    )
    batch = queue.claim(10, 0)
    assert sorted(_ids(batch)) == tasks
    assert next(task for task in batch.tasks if task.id == tasks[0]).retry_delays == (0.0, 3.15e9, 2592000.0)


@pytest.mark.parametrize("schema", ["jobs", "100%s", 'od"d'])
def test_the_table_is_found_through_the_search_path(table: Table, schema: str) -> None:
    name = sql.Identifier(schema)
    table.run(sql.SQL("CREATE SCHEMA {}").format(name))
    for each in (TABLE, *BESIDE.values()):
        table.run(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(sql.Identifier(each), name))
    table.run(sql.SQL("SET search_path = {}").format(name))
    here = sql.Identifier(str(conninfo_to_dict(table.dsn)["dbname"]))
    table.run(sql.SQL("ALTER DATABASE {} SET search_path = {}").format(here, name))
    task = table.insert()
    database = Database(table.settings())
    database.open()
    assert _ids(Queue(database, "w-1/boot", None).claim(10, 0)) == [task]
    database.close()


@pytest.mark.parametrize(("max_attempts", "waits"), [(5, "off"), (1, "on")])
def test_a_claim_waits_for_the_disk_only_where_a_task_may_run_but_once(
    table: Table, max_attempts: int, waits: str
) -> None:
    table.insert()
    table.insert(max_attempts=max_attempts)
    claim: dict[str, object] = {"room": 10, "ahead": 0, "look_ahead": 0.0, "turn": 0, "types": None}
    with table.transaction():
        table.sql(addressed(SURVEY.whole, "public"), **claim, holder="w-1/boot", refused=[])
        assert table.sql("SHOW synchronous_commit") == [{"synchronous_commit": waits}]


def test_the_largest_fencing_token_does_not_stop_a_claim(table: Table, queue: Queue) -> None:
    tasks = [table.insert(claim_seq=1000000000000000), table.insert()]
    assert _ids(queue.claim(10, 0)) == tasks


def test_a_later_claim_of_a_row_whose_old_claim_is_still_held_is_handed_back(
    table: Table, queue: Queue
) -> None:
    task = table.insert()
    (old,) = queue.claim(1, 0).tasks
    table.sql("UPDATE scheduled_tasks SET status = 'pending' WHERE id = %(id)s", id=task)
    queue.forget_lanes()
    queue.claim(1, 1)
    assert queue.hand_back_unheld([old.claim]) == [task]


def test_a_fencing_token_that_a_standby_gave_out_again_fences_all_the_same(
    table: Table, queue: Queue, database: Database
) -> None:
    task = table.insert()
    (old,) = queue.claim(1, 0).tasks
    table.sql(
        "UPDATE scheduled_tasks SET status = 'pending', claim_seq = 0, locked_by = NULL WHERE id = %(id)s",
        id=task,
    )
    successor = Queue(database, "w-2/boot", None)
    (new,) = successor.claim(1, 0).tasks
    assert new.claim == old.claim
    late = Settlement(old, Status.FAILED, error="of a ghost")
    assert queue.settle([late]).lost == {old.claim}
    assert queue.beat([old.claim]).lost == {old.claim}
    assert table.row(task)["status"] == "processing"
    assert successor.beat([new.claim]) == Leftover(frozenset(), frozenset())
