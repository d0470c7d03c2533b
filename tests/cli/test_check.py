from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.types.json import Jsonb

from at_worker.store.admin import SCHEMA_VERSION
from tests.cli.conftest import AtWorker
from tests.servers.http import refusing
from tests.servers.rabbitmq import Broker, External
from tests.servers.smtp import smtp_server
from tests.tables import Table

MAIL = {"to": "a@example.org", "subject": "s", "body": "b"}


@pytest.fixture
def dsn(emptied_dsn: str) -> str:
    return emptied_dsn


def test_all_is_well(table: Table, at_worker: AtWorker) -> None:
    table.insert("http_callback", {"url": "http://example.org/"})
    table.insert("rabbitmq", {"queue": "orders"}, execute_at="2030-05-17 09:30+00")
    table.insert("email", MAIL)
    address = urlsplit(table.dsn)
    with smtp_server() as server:
        told = at_worker(
            "check",
            DATABASE_URL=table.dsn,
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(server.port),
            SMTP_TLS="none",
        )
    assert told.exit_code == 0
    assert told.output.splitlines() == [
        f"ok    database: {address.hostname}:{address.port}{address.path}, schema version {SCHEMA_VERSION}",
        f"ok    LISTEN: announcements arrive at {address.hostname}:{address.port}{address.path}",
        "--    RabbitMQ: RABBITMQ_URL is not set, not tried",
        f"ok    Email: SMTP server at 127.0.0.1:{server.port} (none)",
        "ok    pending tasks: 3, all of them valid",
    ]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"path": "/postgres"}, "LISTEN_DSN has to lead to the same database without a pooler, or to be off"),
        ({"netloc": "nobody:x@{host}"}, "(see LISTEN_DSN)"),
        ({"netloc": "{user}@127.0.0.1:1"}, "refused"),
        ({"query": "nonsense=1"}, "LISTEN_DSN: its value is no connection URI that libpq can read"),
    ],
    ids=["of another database", "of nobody", "of nowhere", "of no kind"],
)
def test_a_connection_that_hears_nothing(
    changed: dict[str, str], told: str, table: Table, at_worker: AtWorker
) -> None:
    address = urlsplit(table.dsn)
    user, _, host = address.netloc.rpartition("@")
    listen = address._replace(**{part: value.format(user=user, host=host) for part, value in changed.items()})
    outcome = at_worker("check", DATABASE_URL=table.dsn, LISTEN_DSN=listen.geturl())
    (line,) = [line for line in outcome.output.splitlines() if "LISTEN" in line]
    assert line.startswith("WRONG LISTEN: ")
    assert told in line
    assert outcome.exit_code == 1


def test_a_worker_that_does_not_listen_is_not_tried(table: Table, at_worker: AtWorker) -> None:
    outcome = at_worker("check", DATABASE_URL=table.dsn, LISTEN_DSN="off")
    assert "--    LISTEN: LISTEN_DSN is off, rows are found by polling\n" in outcome.output
    assert outcome.exit_code == 0


def test_a_broker_that_answers_is_named_without_its_password(
    table: Table, broker: Broker | External, at_worker: AtWorker
) -> None:
    address = urlsplit(broker.url)
    told = at_worker("check", DATABASE_URL=table.dsn, RABBITMQ_URL=broker.url)
    assert told.exit_code == 0
    (line,) = [line for line in told.output.splitlines() if line.startswith("ok    RabbitMQ: ")]
    assert f"{address.hostname}:{address.port}" in line
    assert f"{address.password}@" not in line


def test_nothing_is_sent_and_nothing_changed(table: Table, at_worker: AtWorker) -> None:
    task = table.insert("email", MAIL)
    before = table.row(task)
    with smtp_server() as server:
        at_worker(
            "check",
            DATABASE_URL=table.dsn,
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(server.port),
            SMTP_TLS="none",
        )
    assert (table.row(task), server.mails) == (before, [])


@pytest.mark.parametrize(
    ("task_type", "payload", "problem"),
    [
        ("http_callback", {}, "url"),
        ("http_callback", {"url": "ftp://example.org/"}, "url"),
        ("http_callback", {"url": "http://169.254.169.254/latest"}, "HTTP_GUARD=metadata"),
        ("http_callback", {"url": "http://example.org/", "timeout": "soon"}, "timeout"),
        ("rabbitmq", {"data": 1}, "queue"),
        ("rabbitmq", {"queue": "orders", "headers": 5}, "headers"),
        ("email", {**MAIL, "to": []}, "to"),
        ("email", {**MAIL, "to": ["a@example.org", "nobody"]}, "to[1]"),
        ("email", [MAIL], "payload"),
    ],
)
def test_a_task_that_would_fail_is_listed_with_the_field(
    task_type: str, payload: object, problem: str, table: Table, at_worker: AtWorker
) -> None:
    table.insert("email", MAIL)
    task = table.insert(task_type)
    table.sql(
        "UPDATE scheduled_tasks SET payload = %(payload)s WHERE id = %(id)s", payload=Jsonb(payload), id=task
    )
    told = at_worker("check", DATABASE_URL=table.dsn)
    assert told.exit_code == 1
    (listed,) = [line for line in told.output.splitlines() if "would fail:" in line]
    assert listed.startswith(f"      task {task} ({task_type}) would fail: invalid payload: ")
    assert problem in listed
    assert "WRONG pending tasks: 1 of 2 would fail\n" in told.output


def test_a_task_that_names_a_missing_secret_is_listed(table: Table, at_worker: AtWorker) -> None:
    task = table.insert("http_callback", {"url": "https://x.org/", "auth": {"bearer": {"$secret": "SHOP"}}})
    told = at_worker("check", DATABASE_URL=table.dsn)
    assert told.exit_code == 1
    said = "missing setting: auth.bearer: this worker has no AT_SECRET_SHOP"
    assert f"task {task} (http_callback) would fail: {said}" in told.output


def test_templates_are_tried_and_so_are_the_rows_that_name_them(
    table: Table, at_worker: AtWorker, tmp_path: Path
) -> None:
    (tmp_path / "hello.subject.txt").write_text("Hello")
    (tmp_path / "hello.txt").write_text("Hello {{ name }}")
    told = at_worker("check", DATABASE_URL=table.dsn, SMTP_TEMPLATES=str(tmp_path))
    assert told.exit_code == 0
    assert f"ok    e-mail templates: 2 files in {tmp_path}\n" in told.output

    (tmp_path / "broken.html").write_text("<p>\n{% if %}")
    fine, wrong = (
        table.insert("email", {"to": "a@example.org", "template": "hello", "template_data": data})
        for data in ({"name": "Ann"}, {"nmae": "Ann"})
    )
    told = at_worker("check", DATABASE_URL=table.dsn, SMTP_TEMPLATES=str(tmp_path))
    assert told.exit_code == 1
    assert "      broken.html, line 2: Expected an expression, got 'end of statement block'\n" in told.output
    assert f"WRONG e-mail templates: 1 of 3 files in {tmp_path} are no templates\n" in told.output
    said = "invalid payload: template_data.name: is missing (hello.txt, line 1)"
    assert f"task {wrong} (email) would fail: {said}\n" in told.output
    assert f"task {fine} " not in told.output


def test_a_task_that_names_a_template_is_listed_where_there_are_none(
    table: Table, at_worker: AtWorker
) -> None:
    task = table.insert("email", {"to": "a@example.org", "template": "hello"})
    told = at_worker("check", DATABASE_URL=table.dsn)
    assert told.exit_code == 1
    said = "missing setting: template: SMTP_TEMPLATES is not set"
    assert f"task {task} (email) would fail: {said}\n" in told.output
    assert "templates:" not in told.output


def test_a_task_of_an_unknown_type_is_listed_with_the_known_ones(table: Table, at_worker: AtWorker) -> None:
    task = table.insert("teleport")
    told = at_worker("check", DATABASE_URL=table.dsn)
    assert told.exit_code == 1
    assert f"task {task} (teleport) would fail: unknown task_type; this worker knows " in told.output
    assert "email, http_callback" in told.output


@pytest.mark.parametrize("status", ["processing", "completed", "failed", "cancelled"])
def test_only_pending_tasks_are_looked_at(status: str, table: Table, at_worker: AtWorker) -> None:
    table.insert("teleport", status=status)
    assert "pending tasks: 0" in at_worker("check", DATABASE_URL=table.dsn).output


def test_a_worker_for_some_types_checks_only_these(table: Table, at_worker: AtWorker) -> None:
    table.insert("teleport")
    table.insert("email", MAIL)
    told = at_worker("check", DATABASE_URL=table.dsn, WORKER_TASK_TYPES="email")
    assert told.exit_code == 0
    assert "pending tasks: 1, all of them valid" in told.output


def test_of_very_many_wrong_tasks_the_first_are_listed(table: Table, at_worker: AtWorker) -> None:
    table.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'email' FROM generate_series(1, 3000)")
    told = at_worker("check", DATABASE_URL=table.dsn)
    assert told.output.count("would fail:") == 50
    assert "3000 of 3000 would fail, the first 50 are listed" in told.output


def test_a_broker_and_a_mail_server_that_are_away_are_told(table: Table, at_worker: AtWorker) -> None:
    with refusing() as port:
        told = at_worker(
            "check",
            DATABASE_URL=table.dsn,
            RABBITMQ_URL=f"amqp://at:hunter2@127.0.0.1:{port}/",
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(port),
        )
    assert told.exit_code == 1
    broker, mail = (line for line in told.output.splitlines() if line.startswith("WRONG"))
    assert broker.startswith("WRONG RabbitMQ: ")
    assert mail.startswith("WRONG Email: ")
    for line in (broker, mail):
        assert f"127.0.0.1:{port}" in line
        assert "refused" in line
    assert "hunter2" not in told.output
    assert "ok    pending tasks" in told.output


def test_a_database_that_is_away_is_told_and_the_rest_is_checked(at_worker: AtWorker) -> None:
    with refusing() as port, smtp_server() as server:
        told = at_worker(
            "check",
            DATABASE_URL=f"postgresql://at:hunter2@127.0.0.1:{port}/app",
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(server.port),
            SMTP_TLS="none",
        )
    assert told.exit_code == 1
    assert f"WRONG database: 127.0.0.1:{port}/app: " in told.output
    assert "ok    Email" in told.output
    assert "hunter2" not in told.output


def test_a_missing_table_names_the_remedy(empty_dsn: str, at_worker: AtWorker) -> None:
    told = at_worker("check", DATABASE_URL=empty_dsn)
    assert told.exit_code == 1
    assert "WRONG database: there is no table scheduled_tasks; at-worker init-db creates it" in told.output


def test_a_missing_database_names_the_remedy(missing_dsn: str, at_worker: AtWorker) -> None:
    told = at_worker("check", DATABASE_URL=missing_dsn)
    assert told.exit_code == 1
    assert "does not exist; at-worker init-db creates it" in told.output


def test_a_wrong_password_is_told(dsn: str, at_worker: AtWorker) -> None:
    told = at_worker("check", DATABASE_URL=dsn.replace(f":{urlsplit(dsn).password}@", ":hunter2@"))
    assert told.exit_code == 1
    assert "refuses the login" in told.output
    assert "hunter2" not in told.output


def test_a_table_that_is_not_ours_is_told(empty_dsn: str, at_worker: AtWorker) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE scheduled_tasks (id bigint, what text)")
    told = at_worker("check", DATABASE_URL=empty_dsn)
    assert told.exit_code == 1
    assert "WRONG database: the columns of scheduled_tasks are not those of this version" in told.output


@pytest.mark.alters
def test_an_older_schema_names_the_remedy(table: Table, at_worker: AtWorker) -> None:
    table.sql("COMMENT ON TABLE scheduled_tasks IS NULL")
    told = at_worker("check", DATABASE_URL=table.dsn)
    assert told.exit_code == 1
    assert f"schema version 0 is not {SCHEMA_VERSION}; at-worker init-db upgrades it" in told.output


def test_wrong_settings_end_with_2(at_worker: AtWorker) -> None:
    told = at_worker("check", DB_PORT="x", SMTP_TLS="x")
    assert told.exit_code == 2
    assert told.stderr.startswith("Error: cannot start, these settings are wrong:\n")
    assert "DB_PORT: " in told.stderr
    assert "SMTP_TLS: " in told.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"DATABASE_URL": "postgresql://at:hunter2@db/app?nonsense=1"},
        {"RABBITMQ_URL": "amqp://at:hunter2@broker/?heartbeat=often"},
        {"SMTP_FROM": "no body@example.org"},
    ],
    ids=str,
)
def test_settings_whose_fault_shows_in_use_end_with_2(settings: dict[str, str], at_worker: AtWorker) -> None:
    told = at_worker("check", **settings)
    assert told.exit_code == 2
    assert next(iter(settings)) in told.stderr
    assert "hunter2" not in told.output


def test_a_typing_error_in_a_variable_is_warned_about(table: Table, at_worker: AtWorker) -> None:
    told = at_worker("check", DATABASE_URL=table.dsn, WORKER_BATCHSIZE="5")
    assert told.exit_code == 0
    assert "WARNING WORKER_BATCHSIZE is no setting; did you mean WORKER_BATCH_SIZE?" in told.stderr


@pytest.mark.parametrize(
    ("retention", "missing"),
    [
        ("", "UPDATE on scheduled_tasks, INSERT on scheduled_tasks_attempts"),
        ("7d", "UPDATE on scheduled_tasks, DELETE on scheduled_tasks, INSERT on scheduled_tasks_attempts"),
    ],
)
def test_a_role_that_may_not_do_a_workers_work_is_told(
    table: Table, at_worker: AtWorker, retention: str, missing: str
) -> None:
    # A role of the whole server, so the test takes it away again.
    table.sql("CREATE ROLE at_reader LOGIN PASSWORD 'reader'")
    try:
        table.sql("GRANT SELECT ON scheduled_tasks TO at_reader")
        address = urlsplit(table.dsn)
        dsn = f"postgresql://at_reader:reader@{address.hostname}:{address.port}{address.path}"
        told = at_worker("check", DATABASE_URL=dsn, WORKER_RETENTION=retention)
    finally:
        table.sql("DROP OWNED BY at_reader")
        table.sql("DROP ROLE at_reader")
    assert told.exit_code == 1
    assert f"WRONG database: the worker's role lacks {missing}, SELECT on scheduled_tasks_p" in told.output
