"""Hundreds of rows that cannot be carried out, in the table among good ones, run by the real executors."""

import select
import socket

from at_worker import jsontext
from at_worker.executors.registry import executors
from at_worker.jsontext import Json
from tests.engine.bench import bench
from tests.executors.email.test_mail import BROKEN as BROKEN_MAILS
from tests.executors.http_callback.test_payload import BROKEN as BROKEN_CALLBACKS
from tests.servers.http import Receiver
from tests.tables import Table

BROKEN_MESSAGES: list[tuple[str, Json]] = [
    ("payload", []),
    ("exchange", {"data": 1}),
    ("routing_key", {"exchange": "e"}),
    ("queue", {"queue": ""}),
    ("queue", {"queue": "q\n"}),
    ("priority", {"queue": "q", "priority": 256}),
    ("headers", {"queue": "q", "headers": 1}),
]


def _storable(payload: Json) -> bool:
    """Whether a jsonb column takes it: NUL and lone surrogates never get there; no payload is `{}`."""
    text = jsontext.render(payload)
    return (
        payload is not None
        and "\\u0000" not in text
        and not any("\ud800" <= character <= "\udfff" for character in text)
    )


def _insert(table: Table, task_type: str, broken: list[tuple[str, Json]]) -> dict[int, str]:
    return {table.insert(task_type, payload): field for field, payload in broken if _storable(payload)}


def test_each_row_fails_at_once_naming_its_field_and_the_good_ones_among_them_arrive(table: Table) -> None:
    with (
        Receiver() as receiver,
        socket.create_server(("127.0.0.1", 0)) as broker,
        socket.create_server(("127.0.0.1", 0)) as mail_server,
    ):
        variables = {
            "RABBITMQ_URL": f"amqp://at:at@127.0.0.1:{broker.getsockname()[1]}/",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail_server.getsockname()[1]),
            "SMTP_FROM": "worker@example.org",
            "WORKER_BATCH_SIZE": "32",
            "WORKER_CONCURRENCY": "32",
        }
        good = [table.insert("http_callback", {"url": receiver.url, "data": 1})]
        fields = _insert(table, "http_callback", BROKEN_CALLBACKS)
        good.append(table.insert("http_callback", {"url": receiver.url, "data": 2}))
        fields |= _insert(table, "email", BROKEN_MAILS) | _insert(table, "rabbitmq", BROKEN_MESSAGES)
        good.append(table.insert("http_callback", {"url": receiver.url, "data": 3}))
        with (
            executors(table.settings(**variables)) as known,
            bench(table, known=known, **variables) as worker,
        ):
            while table.sql("SELECT 1 FROM scheduled_tasks WHERE status = 'pending' LIMIT 1"):
                worker.work()
        rows = {row["id"]: row for row in table.sql("TABLE scheduled_tasks")}
        asked, _, _ = select.select([broker, mail_server], [], [], 0)
    assert len(fields) > 300
    wrong = {
        task: (field, rows[task]["status"], rows[task]["error_message"])
        for task, field in fields.items()
        if rows[task]["status"] != "failed"
        or not rows[task]["error_message"].startswith(f"invalid payload: {field}")
    }
    assert not wrong
    assert {rows[task]["status"] for task in good} == {"completed"}
    assert len(receiver.arrivals) == len(good)
    assert not asked
