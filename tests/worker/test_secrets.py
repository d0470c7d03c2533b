"""Markers in place of all secrets, failures of every kind, and a look at everything that people can read."""

import base64
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote, urlsplit

import pytest
from click.testing import CliRunner
from psycopg import sql
from psycopg.types.json import Jsonb

from at_worker.cli import main
from at_worker.executors.registry import GROUP
from at_worker.store.schema import BESIDE, TABLE
from tests.processes import command, environment, worker
from tests.servers.http import Arrival, Receiver, Reply, refusing
from tests.servers.rabbitmq import Broker, External
from tests.servers.smtp import smtp_server
from tests.tables import Table

# So that a marker is found however it is written, it has a core that no encoding but base64 changes.
CORES = [f"Mk{number:02}Q7zXw9" for number in range(12)]
MARKERS = [f"{core}/ä+" for core in CORES]
DATABASE, BROKER, PROXY, HEADER, TOKEN, PLUGIN = MARKERS[:6]
MAIL, BEARER, BASIC, KEY, QUERY = CORES[6:11]
SIGNING = f"whsec_{CORES[11] * 4}"

UNFINISHED: LiteralString = "SELECT id FROM scheduled_tasks WHERE status IN ('pending', 'processing')"

LEAK = """
import logging, os, threading, warnings

class Leak:
    def parse(self, payload):
        return payload

    def execute(self, payload, attempt):
        secret = os.environ["AT_SECRET_PLUGIN"]
        match payload:
            case {"do": "raise"}:
                raise RuntimeError(secret)
            case {"do": "log"}:
                logging.getLogger("at_worker.leak").debug("debugging %s", secret)
                logging.getLogger("leak").warning("warning of %r", {"a": secret})
                logging.getLogger("leak").error("%d", secret)
                threading.Thread(target=int, args=(secret,)).start()
                return None
            case _:
                from at_worker import Done
                return Done({"deep": [secret]})

    def close(self):
        raise RuntimeError(os.environ["SMTP_PASSWORD"])
"""


class Echo(Receiver):
    """Answers 401, or what the path says, with the whole request as its body."""

    def take(self, arrival: Arrival) -> Reply:
        super().take(arrival)
        status = re.match(r"/(\d{3})", urlsplit(arrival.target).path)
        return Reply(int(status[1]) if status else 401, body=arrival.head + arrival.body)


@pytest.fixture
def echo() -> Iterator[Receiver]:
    with Echo() as running:
        yield running


@pytest.fixture
def marked_dsn(table: Table) -> Iterator[str]:
    """The address of the test's database, for a role whose password is a marker."""
    role = sql.Identifier(f"at_marked_{secrets.token_hex(4)}")
    table.run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(DATABASE)))
    for name in (TABLE, *BESIDE.values()):
        table.run(
            sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(sql.Identifier(name), role)
        )
    user = f"{role.as_string()[1:-1]}:{quote(DATABASE, safe='')}"
    yield re.sub(r"//[^@]*@", f"//{user}@", table.dsn)
    table.run(sql.SQL("DROP OWNED BY {}").format(role))
    table.run(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    """The directory of a plug-in that tells all it knows."""
    directory = tmp_path / "plugins"
    metadata = directory / "leak-1.0.dist-info"
    metadata.mkdir(parents=True)
    (directory / "leak.py").write_text(LEAK)
    (metadata / "METADATA").write_text("Name: leak\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nleak = leak:Leak\n")
    return str(directory)


def assert_no_marker(text: str) -> None:
    """Neither as it is, nor percent-encoded, escaped, or in base64 with anything around it."""
    decoded = [text.encode()]
    for word in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
        for skipped in range(4):
            characters = word[skipped:].replace("-", "+").replace("_", "/")
            decoded.append(base64.b64decode(characters[: len(characters) // 4 * 4]))
    found = [core for core in CORES if any(core.encode() in part for part in decoded)]
    assert not found, text


def settings(dsn: str, plugin: str, **others: str) -> dict[str, str]:
    return {
        "DATABASE_URL": dsn,
        "DB_PASSWORD": DATABASE,
        "LISTEN_DSN": dsn,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_TLS": "none",
        "SMTP_USER": "ann",
        "SMTP_PASSWORD": MAIL,
        "WEBHOOK_SECRET": SIGNING,
        "AT_SECRET_HEADER": HEADER,
        "AT_SECRET_HEADER_HOSTS": "127.0.0.1",
        "AT_SECRET_TOKEN": TOKEN,
        "AT_SECRET_TOKEN_HOSTS": "127.0.0.1",
        "AT_SECRET_PLUGIN": PLUGIN,
        "LOG_LEVEL": "DEBUG",
        "PYTHONPATH": f"{environment().get('PYTHONPATH', '')}:{plugin}",
        **others,
    }


def callbacks(echo: Receiver, refused: int) -> list[dict[str, object]]:
    """Callbacks that hold a secret, or name one, and fail; but for the last."""
    query = f"access_token={QUERY}"
    return [
        {"url": f"{echo.url}/hook?{query}", "auth": {"bearer": BEARER}},
        {"url": f"{echo.url}/422?{query}", "auth": {"basic": ["ann", BASIC]}},
        {"url": f"{echo.url}/500?{query}", "headers": {"X-Api-Key": KEY, "X-Other": {"$secret": "HEADER"}}},
        {"url": f"{echo.url}/308?{query}", "auth": {"basic": ["ann", {"$secret": "TOKEN"}]}},
        {"url": f"{echo.url}/401", "headers": {"X-Cut": "x" * 3800, "X-Key": {"$secret": "HEADER"}}},
        {"url": f"http://127.0.0.1:{refused}/?{query}", "auth": {"bearer": BEARER}},
        {"url": f"https://127.0.0.1:{echo.port}/?{query}", "headers": {"X-Key": {"$secret": "HEADER"}}},
        {"url": f"https://evil.example/?{query}", "headers": {"X-Key": {"$secret": "HEADER"}}},
        {"url": f"http://ann:{BASIC}@127.0.0.1/?{query}"},
        {"url": f"{echo.url}/?{query}", "auth": {"bearer": f"{BEARER} {BEARER}"}},
        {"url": f"{echo.url}/?{query}", "auth": {"digest": BEARER}},
        {"url": f"{echo.url}/200?{query}", "headers": {"X-Key": {"$secret": "HEADER"}}},
    ]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_gets_where_people_look(
    form: str,
    table: Table,
    marked_dsn: str,
    plugin: str,
    echo: Receiver,
    broker: Broker | External,
    tmp_path: Path,
) -> None:
    address = urlsplit(broker.url)
    with ExitStack() as stack:
        mail = stack.enter_context(smtp_server(login=("ann", "another")))
        encoded = base64.b64encode(f"\0ann\0{MAIL}".encode()).decode()
        mail.login_reply = f"535 5.7.8 neither {MAIL} nor {encoded} is the password"
        refused = stack.enter_context(refusing())
        given = settings(
            marked_dsn,
            plugin,
            LOG_FORMAT=form,
            SMTP_PORT=str(mail.port),
            RABBITMQ_URL=f"amqp://guest:{quote(BROKER, safe='')}@{address.hostname}:{address.port}/%2F",
        )
        kinds = [("http_callback", payload) for payload in callbacks(echo, refused)]
        kinds += [("rabbitmq", {"queue": "orders"}), ("email", {"to": "a@b.c", "subject": "s", "body": "b"})]
        kinds += [("leak", {"do": what}) for what in ("raise", "log", "return")]
        tasks = [
            table.insert(kind, payload, max_attempts=1, context=Jsonb({"see": f"https://x/?k={QUERY}"}))
            for kind, payload in kinds
        ]
        checked = command(tmp_path, "check", **given)
        with worker(marked_dsn, tmp_path, **given) as process:
            table.wait_for(lambda: not table.sql(UNFINISHED))
            rows = [table.row(task) for task in tasks]
            listed = process.command_lines()
            assert process.stop() == 0
    assert [row["status"] for row in rows[-5:]] == ["failed", "failed", "failed", "failed", "completed"]
    assert rows[11]["status"] == "completed"
    assert rows[0]["result"]["status"] == 401
    assert "X-Key: ***" in rows[11]["result"]["body"]
    assert "ACCESS_REFUSED" in rows[12]["error_message"]
    assert "535 5.7.8 neither" in rows[13]["error_message"]
    assert rows[14]["error_message"] == "RuntimeError: ***"
    assert "Surprise in task" in process.log
    assert "debugging ***" in process.log
    assert len(echo.arrivals) == 6
    assert "at_worker" in listed
    assert "would fail" in checked.stdout
    shown = json.dumps(
        [{name: str(row[name]) for name in row if name not in ("payload", "context")} for row in rows]
    )
    for text in (shown, process.log, listed, checked.stdout, checked.stderr):
        assert_no_marker(text)


def test_a_proxy_that_answers_or_is_away_tells_no_secret(
    table: Table, marked_dsn: str, plugin: str, echo: Receiver, tmp_path: Path
) -> None:
    for port, answers in ((echo.port, True), (1, False)):
        proxy = f"http://ann:{quote(PROXY, safe='')}@127.0.0.1:{port}"
        task = table.insert("http_callback", {"url": f"http://example.org/?key={QUERY}"}, max_attempts=1)
        with worker(marked_dsn, tmp_path, **settings(marked_dsn, plugin, HTTP_PROXY_URL=proxy)) as process:
            row = table.wait(task, "failed")
            assert process.stop() == 0
        assert ("HTTP 401" in row["error_message"]) is answers
        assert_no_marker(f"{row['error_message']} {row['result']} {process.log}")
    assert "Proxy-Authorization" in echo.arrivals[0].head.decode()


def test_a_wrong_password_is_not_told(marked_dsn: str, plugin: str, tmp_path: Path) -> None:
    wrong = marked_dsn.replace(quote(DATABASE, safe=""), quote(BROKER, safe=""))
    given = settings(wrong, plugin)
    with worker(wrong, tmp_path, **given) as process:
        assert process.wait() == 3
    assert "refuses the login" in process.log
    checked = command(tmp_path, "check", **given)
    assert "refuses the login" in checked.stdout
    assert_no_marker(process.log + checked.stdout + checked.stderr)


@pytest.mark.parametrize("name", ["", *main.commands])
def test_help_shows_no_secret(name: str, plugin: str) -> None:
    dsn = f"postgresql://ann:{quote(DATABASE, safe='')}@localhost/app"
    told = CliRunner().invoke(main, [*filter(None, [name]), "--help"], env=settings(dsn, plugin))
    assert told.exit_code == 0
    assert_no_marker(told.output)


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_would_be_found(marker: str) -> None:
    for text in (
        marker,
        quote(marker),
        repr({"a": marker}),
        f"x {base64.b64encode(f'u:{marker}'.encode())!r}",
    ):
        with pytest.raises(AssertionError):
            assert_no_marker(text)
