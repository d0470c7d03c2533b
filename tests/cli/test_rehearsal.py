"""`at-worker run-now --dry-run`: what would be sent is what is then sent."""

import json
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

from tests.cli.conftest import AtWorker
from tests.processes import worker
from tests.servers.smtp import smtp_server
from tests.tables import Table
from tests.worker.endpoint import Endpoint

LATER = "2099-11-27 16:00+00"
MAIL = {"to": ["ann@example.org", "bob@example.org"], "subject": "Hello", "body": "It is\non its way.\n"}


def test_a_rehearsal_prints_the_request_that_is_then_sent(
    tasks: Table, tmp_path: Path, at_worker: AtWorker
) -> None:
    with Endpoint() as receiver:
        payload = {"url": f"{receiver.url}/paid?n=1", "data": {"grün": 1.5}, "headers": {"X-Shop": "north"}}
        task = tasks.insert("http_callback", payload, execute_at=LATER)
        before = tasks.row(task)
        told = at_worker("run-now", str(task), "--dry-run", DATABASE_URL=tasks.dsn)
        assert (told.exit_code, told.stderr, receiver.arrivals) == (0, "", [])
        assert tasks.row(task) == before
        with worker(tasks.dsn, tmp_path) as process:
            at_worker("run-now", str(task), DATABASE_URL=tasks.dsn)
            assert process.stop() == 0
        (arrival,) = receiver.arrivals
    url, _, *head, _, body = told.stdout.splitlines()
    assert url == f"{receiver.url}/paid?n=1"
    differs = ("webhook-timestamp:", "X-At-Worker-Scheduled-At:")
    sent = arrival.head.decode().split("\r\n")
    assert [line for line in head if not line.startswith(differs)] == [
        line for line in sent if line and not line.startswith(differs)
    ]
    assert body == arrival.body.decode()


def test_no_secret_is_in_a_rehearsal(tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert(
        "http_callback",
        {
            "url": "https://example.org/?token=pw1&order=42",
            "auth": {"bearer": {"$secret": "SHOP"}},
            "headers": {"X-Api-Key": "pw2"},
            "data": {"quoted": "hunter22-token"},
        },
    )
    told = at_worker(
        "run-now",
        str(task),
        "--dry-run",
        "--json",
        DATABASE_URL=tasks.dsn,
        AT_SECRET_SHOP="hunter22-token",
        AT_SECRET_SHOP_HOSTS="example.org",
        HTTP_PROXY_URL="http://at:pw3@127.0.0.1:3128",
    )
    text = json.loads(told.stdout)["would_send"]
    assert "?token=***&order=42 HTTP/1.1" in text
    assert "\nAuthorization: ***\n" in text
    assert "\nX-Api-Key: ***\n" in text
    assert f"\nIdempotency-Key: {tasks.row(task)['task_uid']}\n" in text
    for secret in ("pw1", "pw2", "pw3", "hunter22"):
        assert secret not in told.output


def test_a_rehearsal_prints_a_message_with_its_properties(tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert(
        "rabbitmq",
        {
            "exchange": "shop",
            "routing_key": "paid",
            "data": [42],
            "headers": {"X-Token": "pw"},
            "priority": 5,
        },
        attempts=2,
    )
    told = at_worker(
        "run-now",
        str(task),
        "--dry-run",
        DATABASE_URL=tasks.dsn,
        RABBITMQ_URL="amqp://at:hunter22@broker.example.org/",
    ).stdout
    lines = told.splitlines()
    assert lines[0] == "broker.example.org:5672"
    for line in (
        "exchange: shop",
        "routing_key: paid",
        "priority: 5",
        "delivery_mode: 2",
        f"message_id: {tasks.row(task)['task_uid']}",
    ):
        assert line in lines
    assert '"X-Token":"***"' in told
    assert '"x-at-worker-attempt":3' in told
    assert lines[-1] == "[42]"
    assert "hunter22" not in told


def test_a_rehearsal_prints_the_whole_mail_for_who_has_not_got_it(tasks: Table, at_worker: AtWorker) -> None:
    had = {"accepted": ["ann@example.org"], "refused": {"bob@example.org": "450 later"}}
    task = tasks.insert("email", MAIL, attempts=1, result=Jsonb(had))
    with smtp_server() as server:
        told = at_worker(
            "run-now",
            str(task),
            "--dry-run",
            DATABASE_URL=tasks.dsn,
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(server.port),
            SMTP_FROM="shop@example.org",
        ).stdout
        assert server.mails == []
    lines = told.splitlines()
    assert lines[0] == f"SMTP server at 127.0.0.1:{server.port}"
    assert lines[2:4] == ["MAIL FROM:<shop@example.org>", "RCPT TO:<bob@example.org>"]
    assert "To: ann@example.org,\n bob@example.org\n" in told
    assert f"Message-ID: <{tasks.row(task)['task_uid']}@example.org>" in lines
    assert told.endswith("\n\nIt is\non its way.\n\n")


def test_a_plugin_that_does_not_tell_shows_its_payload(tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert("analytics", {"event_name": "paid", "payload": {"token": "hunter22"}})
    told = at_worker("run-now", str(task), "--dry-run", DATABASE_URL=tasks.dsn)
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("analytics does not tell what it sends; it takes this payload:\n")
    assert '"token": "***"' in told.stdout


@pytest.mark.parametrize(
    ("task_type", "payload", "problem"),
    [
        ("http_callback", {}, "task 1 would fail: invalid payload: url: is missing"),
        (
            "http_callback",
            {"url": "https://x.org/", "auth": {"bearer": {"$secret": "SHOP"}}},
            "task 1 would be tried again: missing setting: auth.bearer: this worker has no AT_SECRET_SHOP",
        ),
        (
            "teleport",
            {},
            "nothing on this machine knows teleport: its plug-in is not installed here",
        ),
    ],
)
def test_a_rehearsal_tells_what_would_go_wrong(
    task_type: str, payload: object, problem: str, tasks: Table, at_worker: AtWorker
) -> None:
    tasks.insert(task_type, payload)
    told = at_worker("run-now", "1", "--dry-run", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (1, "", f"Error: {problem}\n")
