"""What a line may be, and what is said of one that is no task."""

import json
from collections.abc import Iterator

import pytest

from at_worker.cli import lines
from at_worker.cli.lines import BadLine, Executors
from at_worker.config import load
from at_worker.executors.registry import executors
from at_worker.store.loading import NewTask
from tests.cli.bulk import GOOD


@pytest.fixture(scope="module")
def known() -> Iterator[Executors]:
    with executors(load({}, ())) as found:
        yield found


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "is not JSON: Expecting value at column 1 (char 0)"),
        (b"\xff", "is not UTF-8"),
        ([GOOD], "must be an object, not an array"),
        ("[" * 100_000, "is nested too deeply"),
        ({"payload": {}}, "task_type: is missing"),
        ({"task_type": ""}, "task_type: is empty"),
        ({"task_type": 7}, "task_type: must be a string, not a number"),
        ({"task_type": "x" * 1001}, "task_type: is longer than 1000 bytes"),
        ({"task_type": "teleport"}, "task_type: 'teleport' is unknown here; known are"),
        ({**GOOD, "prio": 9}, "prio: is not one of task_type, payload, execute_at, priority,"),
        ({**GOOD, "status": "completed"}, "status: is not one of"),
        (
            {**GOOD, "execute_at": "tomorrow"},
            "execute_at: 'tomorrow' is not ISO 8601, like 2026-12-24T18:00:00+01:00",
        ),
        ({**GOOD, "execute_at": "2099-05-17T09:30"}, "execute_at: '2099-05-17T09:30' has no offset; add one"),
        ({**GOOD, "execute_at": 1700000000}, "execute_at: must be a string, not a number"),
        ({**GOOD, "execute_at": "0001-05-17T09:30Z"}, "execute_at: must be from the year 2 to 9998"),
        ({**GOOD, "expires_at": "soon"}, "expires_at: 'soon' is not ISO 8601"),
        ({**GOOD, "priority": 10}, "priority: must be from 0 to 9"),
        ({**GOOD, "priority": "9"}, "priority: must be a whole number, not a string"),
        ({**GOOD, "max_attempts": 0}, "max_attempts: must be from 1 to 2147483647"),
        ({**GOOD, "retry_delays": ["soon"]}, 'retry_delays: must be an array like ["30 s", "5 min", "1 h"]'),
        ({**GOOD, "retry_delays": "30 s"}, "retry_delays: must be an array like"),
        ({**GOOD, "dedupe_key": 42}, "dedupe_key: must be a string, not a number"),
        ({**GOOD, "payload": {}}, "payload.url: is missing"),
        ({**GOOD, "payload": None}, "payload: must be an object, not null"),
        ({"task_type": "email", "payload": {"to": "nobody"}}, "payload.to: "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_with_a_line_is_said_with_its_number(
    line: object, problem: str, known: Executors
) -> None:
    raw = (
        line
        if isinstance(line, bytes)
        else line.encode()
        if isinstance(line, str)
        else json.dumps(line).encode()
    )
    bad = lines.read(17, raw, known)
    assert isinstance(bad, BadLine)
    assert str(bad).startswith(f"line 17: {problem}")
    assert bad.raw == raw


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2099-05-17T09:30:00Z", "2099-05-17T09:30:00+00:00"),
        ("2099-05-17 09:30+02:00", "2099-05-17T09:30:00+02:00"),
        ("20990517T093000.25-0330", "2099-05-17T09:30:00.250000-03:30"),
        ("2099-W20-7T09:30Z", "2099-05-17T09:30:00+00:00"),
        (None, None),
    ],
)
def test_times_are_iso_8601_with_an_offset(written: str | None, read: str | None) -> None:
    line = json.dumps({**GOOD, "execute_at": written, "expires_at": written}).encode()
    assert lines.read(1, line, None) == NewTask(1, line.decode(), read, read, keyed=False)
