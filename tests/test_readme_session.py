"""The sessions of the README, typed anew: what each command answers is what stands there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from at_worker.cli import main
from tests import logs
from tests.processes import environment, worker
from tests.readme import blocks
from tests.tables import Table
from tests.worker.endpoint import Endpoint

RECEIVER = "localhost:8000"
# What is another each time: times, lengths of time, names of worker processes, and uids.
VOLATILE = (
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)?", "TIME"),
    (r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", "TIME"),
    (r"\d[\d,]*(\.\d+)? (ms|s|min|h|d)\b( \d+ (s|min|h)\b)?", "LENGTH"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
    (r"w-1/[0-9a-f]+", "WORKER"),
    (r'"ms": \d+|webhook-timestamp: \d+', "NUMBER"),
    (r"at-worker/[0-9.]+", "VERSION"),
    (r" +", " "),
)

AT_WORK = """
SELECT FROM scheduled_tasks WHERE status = 'processing' OR status = 'pending' AND execute_at <= now()
"""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as started:
        yield started


def steps(session: str) -> list[tuple[str, str]]:
    """Each command of a session and its answer."""
    return [
        (command, answer)
        for command, _, answer in (step.partition("\n") for step in session.split("$ at-worker ")[1:])
    ]


def typed(command: str, table: Table, endpoint: Endpoint) -> str:
    """What a command answers, once the worker has nothing left to do."""
    here = endpoint.url.removeprefix("http://")
    settings = environment(DATABASE_URL=table.dsn, SMTP_FROM="shop@example.org")
    with logs.restored():
        told = CliRunner().invoke(main, shlex.split(command.replace(RECEIVER, here)), env=settings)
    table.wait_for(lambda: not table.sql(AT_WORK))
    return told.output.replace(here, RECEIVER)


def steady(answer: str) -> str:
    for pattern, name in VOLATILE:
        answer = re.sub(pattern, name, answer)
    return answer.strip()


@pytest.mark.parametrize("session", blocks("console"), ids=["a task", "the whole table"])
def test_every_command_answers_as_the_readme_says(
    session: str, table: Table, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with worker(table.dsn, tmp_path) as process:
        process.wait_for_line("Started with polling interval")
        for command, answer in steps(session):
            assert steady(typed(command, table, endpoint)) == steady(answer), command
        assert process.stop() == 0
