import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from at_worker.cli import linefile, lines
from tests.cli.bulk import GOOD, LATER, on_terminal, started, write
from tests.cli.conftest import AtWorker
from tests.servers.http import refusing
from tests.servers.tcp_proxy import database_proxy
from tests.tables import Table

EVERYTHING = {
    **GOOD,
    "execute_at": "2099-05-17T11:30:00.250+02:00",
    "priority": 9,
    "expires_at": "20990518T093000Z",
    "max_attempts": 1,
    "retry_delays": ["10 s", "5 min", 30],
    "dedupe_key": "order:42",
    "context": {"by": "checkout"},
}


def count(tasks: Table) -> int:
    return int(tasks.sql("SELECT count(*) FROM scheduled_tasks")[0]["count"])


def test_a_line_becomes_a_task_with_all_that_it_says(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("import", write("tasks.jsonl", EVERYTHING), DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "1 task imported\n")
    (row,) = tasks.sql("SELECT * FROM scheduled_tasks")
    assert row["execute_at"] == datetime(2099, 5, 17, 9, 30, 0, 250_000, tzinfo=UTC)
    assert row["expires_at"] == datetime(2099, 5, 18, 9, 30, tzinfo=UTC)
    assert row["retry_delays"] == [timedelta(seconds=10), timedelta(minutes=5), timedelta(seconds=30)]
    for name in ("task_type", "payload", "priority", "max_attempts", "dedupe_key", "context"):
        assert row[name] == EVERYTHING[name]
    assert (row["status"], row["attempts"]) == ("pending", 0)


def test_what_a_line_does_not_say_is_as_the_table_has_it(tasks: Table, at_worker: AtWorker) -> None:
    nothing = dict.fromkeys(EVERYTHING.keys() - GOOD.keys())
    at_worker("import", write("tasks.jsonl", GOOD, {**GOOD, **nothing}), DATABASE_URL=tasks.dsn)
    tasks.insert("http_callback", GOOD["payload"])
    rows = tasks.sql("""
        SELECT payload, priority, expires_at, max_attempts, retry_delays, dedupe_key, context,
               abs(extract(epoch FROM execute_at - now())) < 60 AS now
          FROM scheduled_tasks ORDER BY id
    """)
    assert rows[0] == rows[1] == rows[2]


def test_blank_lines_line_ends_of_windows_and_a_byte_order_mark_do_no_harm(
    tasks: Table, at_worker: AtWorker
) -> None:
    line = json.dumps(GOOD).encode()
    told = at_worker(
        "import", write("a", b"\xef\xbb\xbf" + line + b"\r\n\n  ", line + b"\r"), DATABASE_URL=tasks.dsn
    )
    assert (told.exit_code, count(tasks)) == (0, 2)


BAD = {
    "nonsense": "is not JSON: Expecting value at column 1 (char 0)",
    json.dumps({**GOOD, "execute_at": "2099-05-17T09:30"}): "execute_at: '2099-05-17T09:30' has no offset",
    json.dumps({**GOOD, "payload": {}}): "payload.url: is missing",
    # These only PostgreSQL finds.
    json.dumps(
        {**GOOD, "retry_delays": ["5 parsecs"]}
    ): 'invalid input syntax for type interval: "5 parsecs"',
    json.dumps({**GOOD, "context": "\0"}): "unsupported Unicode escape sequence",
    json.dumps(GOOD)[:-1] + ', "context": 1e200000}': "value overflows numeric format",
}


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["", "dry"])
def test_bad_lines_are_named_with_their_numbers_and_nothing_is_imported(
    dry: tuple[str, ...], tasks: Table, at_worker: AtWorker
) -> None:
    told = at_worker("import", write("tasks.jsonl", GOOD, *BAD, GOOD), *dry, DATABASE_URL=tasks.dsn)
    assert told.exit_code == 1
    *named, error = told.stderr.splitlines()
    for number, (line, problem) in enumerate(zip(named, BAD.values(), strict=True), 2):
        assert line.startswith(f"line {number}: {problem}")
    assert error == "Error: bad lines: 6 of 8; nothing was imported"
    assert (told.stdout, count(tasks)) == ("", 0)


def test_a_line_that_only_postgresql_refuses_takes_the_others_back(tasks: Table, at_worker: AtWorker) -> None:
    file = write("tasks.jsonl", GOOD, {**GOOD, "retry_delays": ["5 parsecs"]}, GOOD)
    told = at_worker("import", file, DATABASE_URL=tasks.dsn)
    assert told.exit_code == 1
    assert told.stderr.splitlines()[0] == 'line 2: invalid input syntax for type interval: "5 parsecs"'
    assert count(tasks) == 0


def test_all_bad_lines_are_counted_and_the_first_are_listed(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("import", write("tasks.jsonl", *[GOOD, "x"] * 60), DATABASE_URL=tasks.dsn)
    listed = told.stderr.splitlines()
    assert [line.split(":")[0] for line in listed[:50]] == [f"line {number}" for number in range(2, 101, 2)]
    assert listed[50:] == [
        "... and 10 more bad lines",
        "Error: bad lines: 60 of 120; nothing was imported",
    ]


def test_a_control_character_of_a_line_does_not_reach_the_terminal(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker(
        "import", write("tasks.jsonl", {**GOOD, "a\x1b[2J": 1, "execute_at": "\x1b"}), DATABASE_URL=tasks.dsn
    )
    assert told.exit_code == 1
    assert "\x1b" not in told.output


def test_good_lines_may_be_imported_without_the_bad_which_are_kept(tasks: Table, at_worker: AtWorker) -> None:
    bad = [
        "nonsense",
        json.dumps({**GOOD, "priority": 10}),
        json.dumps({**GOOD, "retry_delays": ["5 parsecs"]}),
    ]
    file = write("tasks.jsonl", GOOD, bad[0], bad[1], GOOD, bad[2])
    told = at_worker("import", "--skip-bad", "--bad-file", "bad.jsonl", file, DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout) == (0, "2 tasks imported; left out as bad: 3\n")
    assert [line.split(":")[0] for line in told.stderr.splitlines()] == ["line 2", "line 3", "line 5"]
    assert count(tasks) == 2
    kept = Path("bad.jsonl")
    assert kept.read_text().splitlines() == bad
    assert kept.stat().st_mode & 0o077 == 0


def test_the_bad_lines_do_not_overwrite_the_file(tasks: Table, at_worker: AtWorker) -> None:
    file = Path(write("tasks.jsonl", GOOD, "nonsense"))
    before = file.read_text()
    told = at_worker("import", "--bad-file", "./tasks.jsonl", "tasks.jsonl", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stderr) == (2, "Error: --bad-file is FILE itself\n")
    assert file.read_text() == before


def test_a_dry_run_tells_how_many_are_good_and_writes_nothing(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("import", "--dry-run", write("tasks.jsonl", GOOD, GOOD), DATABASE_URL=tasks.dsn)
    said = "good lines: 2 of 2; nothing was imported, as --dry-run says\n"
    assert (told.exit_code, told.output) == (0, said)
    assert tasks.insert() == 1


@pytest.mark.parametrize("holder", ["pending", "completed"])
def test_a_key_that_is_taken_is_left_out(holder: str, tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert(
        dedupe_key="k", status=holder, completed_at=datetime.now(UTC) if holder == "completed" else None
    )
    before = tasks.row(task)
    file = write("tasks.jsonl", {**GOOD, "dedupe_key": "k"}, GOOD, {**GOOD, "dedupe_key": "new"})
    told = at_worker("import", file, DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "2 tasks imported; left out as dedupe_key is taken: 1\n")
    assert (tasks.row(task), count(tasks)) == (before, 3)


def test_a_task_whose_key_is_taken_may_be_replaced(tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert(dedupe_key="k", execute_at=LATER, attempts=2)
    expiring = {"expires_at": "2098-01-01T00:00+01:00", "retry_delays": ["7 s"], "priority": 0}
    file = write(
        "tasks.jsonl", GOOD, {**GOOD, "dedupe_key": "k", "execute_at": "2097-05-17T09:30Z", **expiring}
    )
    told = at_worker("import", "--on-duplicate", "replace", file, DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "2 tasks imported\n")
    row = tasks.row(task)
    assert (row["task_type"], row["payload"], row["attempts"]) == ("http_callback", GOOD["payload"], 0)
    assert row["execute_at"] == datetime(2097, 5, 17, 9, 30, tzinfo=UTC)
    assert row["expires_at"] == datetime(2097, 12, 31, 23, tzinfo=UTC)
    assert (row["retry_delays"], row["priority"]) == ([timedelta(seconds=7)], 0)


@pytest.mark.parametrize("mode", ["error", "replace"])
def test_a_key_that_is_taken_may_be_called_bad(mode: str, tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert(dedupe_key="k", status="processing")
    file = write("tasks.jsonl", GOOD, {**GOOD, "dedupe_key": "k"}, {**GOOD, "dedupe_key": "new"})
    told = at_worker("import", "--on-duplicate", mode, file, DATABASE_URL=tasks.dsn)
    assert told.exit_code == 1
    assert told.stderr.startswith("line 2: task 1 ")
    assert '"k"' in told.stderr
    assert count(tasks) == 1


def test_without_a_check_any_payload_and_type_may_be_imported(tasks: Table, at_worker: AtWorker) -> None:
    file = write("tasks.jsonl", {"task_type": "teleport", "payload": [None]}, {**GOOD, "payload": None})
    assert at_worker("import", "--no-check", file, DATABASE_URL=tasks.dsn).exit_code == 0
    rows = tasks.sql("SELECT task_type, payload::text FROM scheduled_tasks ORDER BY id")
    assert rows == [
        {"task_type": "teleport", "payload": "[null]"},
        {"task_type": "http_callback", "payload": "null"},
    ]


def test_a_secret_that_only_the_workers_know_is_no_mistake(tasks: Table, at_worker: AtWorker) -> None:
    payload = {"url": "https://example.org/", "auth": {"bearer": {"$secret": "SHOP"}}}
    file = write("tasks.jsonl", {"task_type": "http_callback", "payload": payload})
    assert at_worker("import", file, DATABASE_URL=tasks.dsn).exit_code == 0


def test_the_guard_of_this_machine_counts(tasks: Table, at_worker: AtWorker) -> None:
    file = write("tasks.jsonl", {**GOOD, "payload": {"url": "http://169.254.169.254/"}})
    told = at_worker("import", file, DATABASE_URL=tasks.dsn)
    assert "line 1: payload.url: " in told.stderr


def test_scripts_get_one_object(tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert(dedupe_key="k")
    file = write("tasks.jsonl", GOOD, {**GOOD, "dedupe_key": "k"}, {**GOOD, "priority": 10})
    told = at_worker("import", "--json", file, DATABASE_URL=tasks.dsn)
    errors = [{"line": 3, "field": "priority", "error": "must be from 0 to 9"}]
    assert json.loads(told.stdout) == {"imported": 0, "duplicates": 0, "bad": 1, "errors": errors}
    assert (told.exit_code, told.stderr) == (1, "Error: bad lines: 1 of 3; nothing was imported\n")
    told = at_worker("import", "--json", "--skip-bad", file, DATABASE_URL=tasks.dsn)
    assert json.loads(told.stdout) == {"imported": 1, "duplicates": 1, "bad": 1, "errors": errors}
    assert (told.exit_code, told.stderr) == (0, "")


def test_many_lines_are_checked_by_several_processes_and_keep_their_order(
    tasks: Table, at_worker: AtWorker
) -> None:
    lines = [{"task_type": "rabbitmq", "payload": {"queue": "q", "data": number}} for number in range(6000)]
    lines[5990] |= {"retry_delays": ["5 parsecs"]}
    lines[5997]["payload"] = {}
    told = at_worker("import", "--skip-bad", write("tasks.jsonl", *lines), DATABASE_URL=tasks.dsn)
    assert told.stdout == "5,998 tasks imported; left out as bad: 2\n"
    assert [line.split(": ")[0] for line in told.stderr.splitlines()] == ["line 5991", "line 5998"]
    found = tasks.sql("SELECT (payload ->> 'data')::int AS data FROM scheduled_tasks ORDER BY id")
    assert [row["data"] for row in found] == [n for n in range(6000) if n not in (5990, 5997)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read_gzipped_or_not(
    pack: Callable[[bytes], bytes], tasks: Table, at_worker: AtWorker
) -> None:
    line = json.dumps(GOOD).encode()
    told = at_worker("import", "-", stdin=pack(line), DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "1 task imported\n")
    assert count(tasks) == 1


def test_an_empty_file_is_no_mistake(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("import", write("tasks.jsonl"), DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "0 tasks imported\n")


@pytest.mark.parametrize(
    ("content", "code", "problem"),
    [
        (None, 2, "tasks.jsonl cannot be opened: No such file or directory"),
        (gzip.compress(b"{}\n" * 100)[:-20], 1, "tasks.jsonl cannot be read: "),
        (b"\x1f\x8bnonsense", 1, "tasks.jsonl cannot be read: "),
    ],
    ids=["missing", "cut", "broken"],
)
def test_a_file_that_cannot_be_read_is_one_line(
    content: bytes | None, code: int, problem: str, tasks: Table, at_worker: AtWorker
) -> None:
    if content is not None:
        Path("tasks.jsonl").write_bytes(content)
    told = at_worker("import", "--no-check", "tasks.jsonl", DATABASE_URL=tasks.dsn)
    assert told.exit_code == code
    assert told.stderr.startswith(f"Error: {problem}")
    assert told.stderr.count("\n") == 1
    assert count(tasks) == 0


def test_a_line_without_an_end_does_not_fill_the_memory(
    tasks: Table, at_worker: AtWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1 << 20)
    monkeypatch.setattr(linefile, "LONGEST", 1 << 20)
    told = at_worker("import", write("tasks.jsonl", GOOD, "x" * (5 << 20), GOOD, "y"), DATABASE_URL=tasks.dsn)
    assert told.stderr.splitlines()[:2] == [
        "line 2: is longer than 1 MiB",
        "line 4: is not JSON: Expecting value at column 1 (char 0)",
    ]


WRITING = """
SELECT FROM pg_locks WHERE relation = 'scheduled_tasks'::regclass AND mode = 'RowExclusiveLock'
"""


def test_a_connection_that_ends_in_the_middle_leaves_nothing(tasks: Table, tmp_path: Path) -> None:
    with started(tmp_path, "import", "-", DATABASE_URL=tasks.dsn) as process:
        assert process.stdin is not None
        process.stdin.write((json.dumps(GOOD).encode() + b"\n") * 2000)
        process.stdin.flush()
        tasks.wait_for(lambda: tasks.sql(WRITING))
        tasks.sql("""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'at-worker %'
        """)
        _, said = process.communicate(json.dumps(GOOD).encode(), timeout=20)
    assert process.returncode == 3
    assert said.startswith(b"Error: ")
    assert said.count(b"\n") == 1
    assert count(tasks) == 0


def test_where_the_answer_to_the_commit_is_lost_nobody_is_told_that_nothing_happened(
    tasks: Table, at_worker: AtWorker
) -> None:
    with database_proxy(tasks.dsn) as (proxy, dsn):
        lost = proxy.lose_reply(b"COMMIT", reset=True)
        told = at_worker("import", write("tasks.jsonl", GOOD), DATABASE_URL=dsn)
    assert lost.happened.is_set()
    assert told.exit_code == 3
    assert "instead of the answer to the COMMIT: all tasks were imported, or none." in told.stderr
    assert count(tasks) == 1


def test_a_terminal_shows_how_far_it_is(tasks: Table, tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text(f"{json.dumps(GOOD)}\n" * 2000)
    code, shown = on_terminal(tmp_path, "", "import", "tasks.jsonl", DATABASE_URL=tasks.dsn)
    assert code == 0
    assert "importing" in shown
    assert "100%" in shown
    assert shown.endswith("\n2,000 tasks imported\n")


def test_the_rights_of_a_producer_suffice(
    table: Table, login: Callable[[str], str], at_worker: AtWorker
) -> None:
    file = write("tasks.jsonl", EVERYTHING)
    for _ in range(2):
        assert at_worker("import", file, DATABASE_URL=login("at_producer")).exit_code == 0
    assert count(table) == 1


@pytest.mark.parametrize(
    ("role", "mode", "needed"),
    [("at_monitor", "ignore", "at_producer"), ("at_producer", "replace", "at_worker")],
)
def test_missing_rights_are_one_line_that_names_the_role(
    role: str, mode: str, needed: str, table: Table, login: Callable[[str], str], at_worker: AtWorker
) -> None:
    table.insert(dedupe_key="order:42", execute_at=LATER)
    told = at_worker(
        "import", "--on-duplicate", mode, write("tasks.jsonl", EVERYTHING), DATABASE_URL=login(role)
    )
    assert told.exit_code == 3
    assert told.stderr.startswith("Error: permission denied for ")
    assert f"GRANT {needed} TO your role" in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_database_that_is_away_is_one_line(at_worker: AtWorker) -> None:
    with refusing() as port:
        told = at_worker(
            "import", write("a", GOOD), DATABASE_URL=f"postgresql://at:hunter2@127.0.0.1:{port}/app"
        )
    assert (told.exit_code, told.stderr.count("\n")) == (3, 1)
    assert "hunter2" not in told.output
