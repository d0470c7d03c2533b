"""The examples of the README work as they stand there."""

import asyncio
import base64
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import AsyncConnection, Connection

from at_worker import Done, HttpCallback, InvalidPayload, jsontext, schedule
from at_worker.config import load
from at_worker.executors.registry import BUILT_IN, GROUP, executors
from at_worker.plugin import AnyExecutor
from at_worker.timespec import parse
from tests.executors.email.mails import attempt
from tests.readme import BLOCKS, README, ROOT, blocks, quoted, rows, section

# So that every statement of the README finds some; it changes the one with the id 7.
ROWS_IN_EVERY_STATE = """
INSERT INTO scheduled_tasks (task_type, status, attempts, error_message, execute_at, updated_at) VALUES
    ('email',         'pending',    0, NULL,       now() - interval '1 hour',   now()),
    ('http_callback', 'pending',    4, 'HTTP 503', now() + interval '1 hour',   now()),
    ('rabbitmq',      'processing', 0, NULL,       now(),                       now()),
    ('rabbitmq',      'processing', 0, NULL,       now() - interval '1 hour',   now() - interval '1 hour'),
    ('email',         'completed',  2, NULL,       now() - interval '1 hour',   now()),
    ('email',         'cancelled',  0, NULL,       now() - interval '1 hour',   now()),
    ('email',         'pending',    0, NULL,       now() + interval '1 hour',   now()),
    ('email',         'pending',    0, 'postponed: cannot connect', now(),      now()),
    ('email',         'failed',     5, 'HTTP 503', now() - interval '100 days', now() - interval '100 days');
INSERT INTO scheduled_tasks (task_type, status, payload)
SELECT 'http_callback', 'failed', '{"url": "https://example.org/paid"}' FROM generate_series(1, 2);
UPDATE scheduled_tasks SET started_at = execute_at, updated_at = updated_at + interval '1 us'
 WHERE attempts > 0;
INSERT INTO scheduled_tasks_attempts (task_id, attempt, outcome) VALUES (7, 1, 'retry');
INSERT INTO scheduled_tasks_presence (holder, worker_id, task_types, version)
VALUES ('w-1/boot', 'w-1', '{}', '1');
INSERT INTO scheduled_tasks_paused (task_type) VALUES ('audit');
"""


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    """A program's own connection, with a table of its own beside ours."""
    with closing(psycopg.connect(dsn, autocommit=True)) as opened:
        opened.execute(
            "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, total numeric)"
        )
        yield opened


@pytest.fixture
def known(tmp_path: Path) -> Iterator[dict[str, AnyExecutor]]:
    (secrets,) = re.findall(r"^```\n(AT_SECRET_.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / ".env").write_text(secrets.replace("/run/secrets", str(tmp_path)))
    for _, name, template in (block for block in BLOCKS if block[0] == "jinja"):
        (tmp_path / "templates" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "templates" / name).write_text(template, encoding="utf-8")
    (tmp_path / "shop_signing").write_text(f"whsec_{base64.b64encode(bytes(24)).decode()}\n")
    with executors(load({"SMTP_TEMPLATES": str(tmp_path / "templates")}, (tmp_path / ".env",))) as found:
        yield dict(found)


def test_every_statement_in_the_readme_runs_and_finds_what_it_is_for(
    connection: Connection, dsn: str
) -> None:
    connection.execute(ROWS_IN_EVERY_STATE)
    with closing(psycopg.connect(dsn, application_name="at-worker w-1")) as worker:
        worker.execute("SELECT FROM scheduled_tasks")
        for block in blocks("sql"):
            cursor = connection.execute(block.encode())
            more: bool | None = True
            while more:
                # Nobody waits a minute here for a transaction to be that old.
                assert cursor.rowcount or "xact_start <" in block, block
                more = cursor.nextset()


def test_the_statements_of_the_readme_insert_valid_payloads(
    connection: Connection, known: dict[str, AnyExecutor]
) -> None:
    for block in blocks("sql"):
        if "INSERT" in block or "at_schedule" in block:
            connection.execute(block.encode())
    inserted = connection.execute("SELECT task_type, payload::text FROM scheduled_tasks").fetchall()
    assert len(inserted) == 6
    for task_type, payload in inserted:
        known[task_type].parse(jsontext.parse(payload))


@pytest.mark.parametrize(
    "example",
    [code for code in blocks("python") if "with connection.transaction()" in code and "async" not in code],
)
def test_the_python_examples_insert_an_order_and_its_task(
    example: str, connection: Connection, known: dict[str, AnyExecutor]
) -> None:
    exec(example, {"connection": connection})  # noqa: S102 - our own example
    ((task_type, payload, execute_at),) = connection.execute(
        "SELECT task_type, payload::text, execute_at FROM scheduled_tasks"
    ).fetchall()
    known[task_type].parse(jsontext.parse(payload))
    assert timedelta(minutes=59) < execute_at - datetime.now(UTC) < timedelta(minutes=61)
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1,)


def test_the_asynchronous_example_pays_an_order_and_schedules_its_task(
    connection: Connection, dsn: str, known: dict[str, AnyExecutor]
) -> None:
    (example,) = (code for code in blocks("python") if "async def" in code)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - our own example

    async def program() -> int:
        async with await AsyncConnection.connect(dsn) as opened:
            task: int = await names["pay"](opened, 42)
            return task

    task = asyncio.run(program())
    row = connection.execute("SELECT id, task_type, payload::text FROM scheduled_tasks").fetchone()
    assert row is not None
    assert row[0] == task
    known[row[1]].parse(jsontext.parse(row[2]))


def test_the_tasks_of_the_python_example_are_valid(
    connection: Connection, known: dict[str, AnyExecutor]
) -> None:
    (example,) = (code for code in blocks("python") if "producer" in code)
    exec(example, {"connection": connection})  # noqa: S102 - our own example
    inserted = connection.execute("SELECT task_type, payload::text FROM scheduled_tasks").fetchall()
    assert {task_type for task_type, _ in inserted} == {*BUILT_IN, "append_line"}
    for task_type, payload in inserted:
        if task_type in BUILT_IN:
            known[task_type].parse(jsontext.parse(payload))


def test_the_examples_of_programs_pass_a_type_checker(tmp_path: Path) -> None:
    examples = [code for code in blocks("python") if "producer" in code or "async def" in code]
    source = "\n".join(["from psycopg import Connection", "connection: Connection", *examples])
    (tmp_path / "program.py").write_text(source, encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", tmp_path / "program.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_example_of_a_test_passes_and_can_fail(connection: Connection) -> None:
    (example,) = (code for code in blocks("python") if "run_due" in code)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - our own example
    test = names["test_a_paid_order_is_reported_after_an_hour"]

    def run(callback: HttpCallback) -> None:
        names["pay"] = lambda c, order: schedule(c, callback, timedelta(hours=1))  # noqa: ARG005 - the example's
        test(connection)

    run(HttpCallback("https://example.org", data={"order": 42}))
    for mistake in (
        HttpCallback("https://example.org", data={"order": 43}),
        HttpCallback("gopher://order:42"),
    ):
        with pytest.raises(AssertionError):
            run(mistake)


@pytest.mark.parametrize(
    ("task_type", "payload"), [(label, code) for language, label, code in BLOCKS if language == "json"]
)
def test_every_payload_in_the_readme_is_valid(
    task_type: str, payload: str, known: dict[str, AnyExecutor]
) -> None:
    known[task_type].parse(jsontext.parse(payload))


def test_the_template_of_the_readme_makes_a_mail_and_tells_what_is_missing(
    known: dict[str, AnyExecutor],
) -> None:
    (payload,) = (json.loads(code) for _, label, code in BLOCKS if label == "email" and "template" in code)
    made = known["email"].parse(payload).content.decode()
    assert "Subject: Your order 42\r\n" in made
    assert "\r\nTea & cups                     19.9\r\n\r\nTotal: 19.9\r\n" in made
    assert "<li>Tea &amp; cups: 19.9</li>" in made
    del payload["template_data"]["order"]["total"]
    (told,) = re.findall("`(template_data.* is missing .*?)`", section("### E-mail templates"))
    with pytest.raises(InvalidPayload, match=re.escape(told)):
        known["email"].parse(payload)


@pytest.mark.parametrize(
    ("task_type", "least"),
    [
        ("http_callback", {"url": "https://example.org"}),
        ("rabbitmq", {"exchange": "", "routing_key": "orders"}),
        ("email", {"to": "ann@example.org", "subject": "hello", "body": "text"}),
    ],
)
def test_every_key_in_the_tables_of_payloads_is_read(
    task_type: str, least: dict[str, jsontext.Json], known: dict[str, AnyExecutor]
) -> None:
    keys = [key for row in rows(f"### {task_type}") if row[0].startswith("`") for key in quoted(row[0])]
    assert set(least) < set(keys)
    for key in set(keys) - {"data"}:  # which may be anything
        with pytest.raises(InvalidPayload) as refused:
            known[task_type].parse({**least, key: [[[]]]})
        assert refused.value.field.startswith(key)


def test_the_plugin_example_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (block for block in blocks("python") if "InvalidPayload" in block)
    project = tomllib.loads(blocks("toml")[0])["project"]
    ((task_type, target),) = project["entry-points"][GROUP].items()
    (tmp_path / target.split(":")[0]).mkdir()
    (tmp_path / target.split(":")[0] / "__init__.py").write_text(code, encoding="utf-8")
    installed = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\n{task_type} = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    notes = tmp_path / "notes"
    with executors(load({}, ())) as known:
        plugin = known[task_type]
        assert plugin.execute(plugin.parse({"path": str(notes), "line": "hello"}), attempt()) == Done(
            {"path": str(notes)}
        )
        for payload, field in (({}, "path"), ({"path": "x", "line": "a\nb"}, "line")):
            with pytest.raises(InvalidPayload) as refused:
                plugin.parse(payload)
            assert refused.value.field == field
    assert notes.read_text() == f"{attempt().task_uid} hello\n"


@pytest.mark.parametrize("row", rows("## When: at(1)'s time language"))
def test_every_example_of_the_time_language_means_what_the_readme_says(row: list[str]) -> None:
    now = datetime(2026, 11, 24, 12, 47, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    (spec,) = quoted(row[1])
    assert str(parse(spec, now)) == row[2]


def test_the_python_example_of_the_time_language_names_a_time_of_tomorrow() -> None:
    (example,) = (code for code in blocks("python") if "timespec" in code)
    names: dict[str, datetime] = {}
    exec(example, names)  # noqa: S102 - our own example
    assert timedelta() < names["execute_at"] - datetime.now(UTC) < timedelta(days=2)


def test_the_table_of_retries_ends_with_the_default_of_max_attempts(connection: Connection) -> None:
    row = connection.execute(
        "INSERT INTO scheduled_tasks (task_type) VALUES ('probe') RETURNING max_attempts"
    ).fetchone()
    assert row == (len(rows("## Retries")),)
