"""What a claim costs: the plan that PostgreSQL makes for it among many rows that are not its business."""

import json
from collections.abc import Iterator
from typing import Any, LiteralString

import pytest

from at_worker.store.claiming import CLAIM, CLAIM_DUE, CLAIM_OF_LANE, SURVEY
from at_worker.store.quarantine import Choosing
from at_worker.store.session import addressed
from tests.tables import Table

ROOM = 10
Plan = dict[str, Any]

CROWD: LiteralString = """
    INSERT INTO scheduled_tasks (task_type, priority, status, execute_at, expires_at, completed_at)
    SELECT 'type-' || n % 5, n % 3, kind.status, now() + kind.due, kind.expires, NULL
      FROM generate_series(1, 5000) n,
           (VALUES ('pending', interval '1 day', NULL::timestamptz), ('completed', interval '-1 day', NULL),
                   ('failed', interval '-1 day', now() - interval '1 day'),
                   ('processing', interval '0', NULL),
                   ('cancelled', interval '-1 day', NULL)) AS kind (status, due, expires)
"""


@pytest.fixture
def crowd(table: Table) -> Table:
    """A table with 25,000 rows that no claim should look at, and twenty that are due."""
    table.sql(CROWD)
    table.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'type-' || n % 5 FROM generate_series(1, 20) n")
    table.sql("ANALYZE scheduled_tasks")
    table.sql("SET enable_seqscan = off")
    return table


def _explain(table: Table, lanes: str | None = None, types: list[str] | None = None) -> Plan:
    statement = (SURVEY if lanes is None else CLAIM).whole
    (row,) = table.sql(
        b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + addressed(statement, "public"),
        room=ROOM,
        ahead=ROOM,
        look_ahead=0.25,
        turn=1,
        types=types,
        lanes=lanes,
        holder="w-1/boot",
        refused=[],
    )
    plan: Plan = row["QUERY PLAN"][0]["Plan"]
    return plan


def _explain_lane(
    table: Table, task_type: str, priority: int, since: float = 0.0, statement: Choosing = CLAIM_OF_LANE
) -> Plan:
    (row,) = table.sql(
        b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + addressed(statement.whole, "public"),
        task_type=task_type,
        priority=priority,
        since=since,
        after=0,
        look_ahead=0.25,
        room=ROOM,
        holder="w-1/boot",
        refused=[],
    )
    plan: Plan = row["QUERY PLAN"][0]["Plan"]
    return plan


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _read(plan: Plan) -> float:
    """Rows that the claim looked at in the index of its lanes."""
    return sum(
        float(node["Actual Rows"] * node["Actual Loops"])
        for node in _nodes(plan)
        if node.get("Index Name") == "scheduled_tasks_lanes"
    )


def _buffers(plan: Plan) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_the_tables_are_read_through_the_lanes_and_the_primary_keys_only(crowd: Table) -> None:
    plan = _explain(crowd)
    assert not [node for node in _nodes(plan) if node["Node Type"] == "Seq Scan"]
    assert {node["Index Name"] for node in _nodes(plan) if "Index Name" in node} == {
        "scheduled_tasks_lanes",
        "scheduled_tasks_pkey",
        "scheduled_tasks_paused_pkey",
    }


def test_no_rows_of_the_table_are_sorted(crowd: Table) -> None:
    sorts = [node for node in _nodes(_explain(crowd)) if "Sort" in node["Node Type"]]
    assert all(node["Actual Rows"] <= 20 for node in sorts)


def test_only_the_rows_that_are_taken_and_the_head_of_each_lane_are_read(crowd: Table) -> None:
    # Twenty lanes: once to find each, once for the row that comes next in it.
    assert _read(_explain(crowd)) <= ROOM + 2 * 20 + 1


def test_types_of_other_workers_cost_nothing_but_the_step_over_their_lanes(crowd: Table) -> None:
    assert _read(_explain(crowd, types=["type-1"])) <= ROOM + 20 + 4 + 1


def test_a_paused_type_costs_nothing_but_the_step_over_its_lanes(crowd: Table) -> None:
    crowd.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'type-1' FROM generate_series(1, 5000)")
    crowd.sql("SELECT at_pause('type-1')")
    assert _read(_explain(crowd)) <= ROOM + 2 * 20 + 1


def test_known_lanes_are_not_looked_for(crowd: Table) -> None:
    lanes = json.dumps([{"task_type": "type-1", "priority": 5, "since": None, "after": 0}])
    assert _read(_explain(crowd, lanes=lanes)) <= ROOM


@pytest.mark.parametrize(
    ("statement", "coming"), [(CLAIM_OF_LANE, 1), (CLAIM_DUE, 0)], ids=["all it needs", "what is due"]
)
def test_a_claim_of_one_lane_reads_what_it_takes_in_its_order_and_sorts_nothing(
    crowd: Table, statement: Choosing, coming: int
) -> None:
    crowd.sql(
        "INSERT INTO scheduled_tasks (task_type, execute_at)"
        " SELECT 'type-1', now() + n * interval '1 hour' FROM generate_series(-5000, 5000) n"
    )
    plan = _explain_lane(crowd, "type-1", 5, statement=statement)
    assert not [
        node for node in _nodes(plan) if node["Node Type"] in ("Seq Scan", "Sort", "Incremental Sort")
    ]
    assert {node["Index Name"] for node in _nodes(plan) if "Index Name" in node} == {
        "scheduled_tasks_lanes",
        "scheduled_tasks_pkey",
        "scheduled_tasks_paused_pkey",
    }
    assert (plan["Actual Rows"], _read(plan)) == (ROOM, ROOM + coming)


def test_a_claim_of_a_lane_that_is_paused_reads_nothing_in_it(crowd: Table) -> None:
    crowd.sql("SELECT at_pause('type-1')")
    assert _read(_explain_lane(crowd, "type-1", 1)) == 0


def test_a_claim_steps_over_what_is_worked_off_while_an_old_snapshot_keeps_it(table: Table) -> None:
    dump = Table(table.dsn)
    dump.sql("BEGIN ISOLATION LEVEL REPEATABLE READ")
    dump.sql("SELECT FROM scheduled_tasks")
    table.sql("SET enable_seqscan = off")
    table.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'a' FROM generate_series(1, 10000)")
    table.sql("UPDATE scheduled_tasks SET status = 'completed'")
    (now,) = table.sql("SELECT extract(epoch FROM now())::float8 AS instant")
    bound = json.dumps([{"task_type": "a", "priority": 5, "since": now["instant"], "after": 0}])
    everything = json.dumps([{"task_type": "a", "priority": 5, "since": None, "after": 0}])
    within_bounds, all_there_is = (_buffers(_explain(table, lanes=lanes)) for lanes in (bound, everything))
    assert within_bounds * 5 < all_there_is
    within_bounds, all_there_is = (
        _buffers(_explain_lane(table, "a", 5, since)) for since in (now["instant"], 0.0)
    )
    dump.close()
    assert within_bounds * 5 < all_there_is
