import secrets
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest

from at_worker.store import admin
from tests.chaos.experiment import Experiment
from tests.chaos.ledger import RecordingEndpoint
from tests.servers.postgres import Postgres, postgres, running
from tests.servers.small_disk import can_mount
from tests.tables import Table

TIMEOUT = 120.0
FIGURES = "figures"
HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "patient: waits so long that only `make chaos` runs it")
    config.addinivalue_line("markers", "mounts: needs a namespace to mount in, which containers rarely have")
    # `make test` chooses the same faults each time, so that a failure is the change's.
    if config.option.chaos_seed is None:
        config.option.chaos_seed = secrets.randbelow(10**6) if config.option.chaos_size > 1 else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A larger experiment may take longer; only a larger one has those that wait for long."""
    if config.getoption("--chaos-size") <= 1:
        _leave_out("patient", config, items)
    if not can_mount():
        _leave_out("mounts", config, items)
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT * max(1.0, config.getoption("--chaos-size"))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what a larger experiment has measured."""
    if config.getoption("--chaos-size") <= 1:
        return
    terminalreporter.section("figures")
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        figures = dict(report.user_properties).get(FIGURES)
        if report.when == "call" and isinstance(figures, dict):
            terminalreporter.line(report.nodeid.rpartition("::")[2])
            for what, value in figures.items():
                terminalreporter.line(f"{value:12.6g}  {what}")


def _leave_out(marker: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker(marker)]
    config.hook.pytest_deselected(items=marked)
    items[:] = [item for item in items if item not in marked]


@pytest.fixture(scope="session")
def stopped_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL with the schema, to be copied."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(admin.ddl().encode())
        server.stop()
        yield server


@pytest.fixture
def server(stopped_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL of the experiment's own, with the schema."""
    with running(stopped_server.copy(tmp_path_factory.mktemp("postgres") / "copy")) as server:
        yield server


@pytest.fixture
def experiment(table: Table, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Experiment]:
    seed = request.config.getoption("--chaos-seed")
    request.node.add_report_section("setup", "seed", f"repeat it with --chaos-seed={seed}")
    random = Random(f"{seed} {request.node.name}")  # noqa: S311 - chooses faults, guards no secret
    size = request.config.getoption("--chaos-size")
    with RecordingEndpoint() as receiver:
        experiment = Experiment(table, receiver, tmp_path, random, size)
        request.node.user_properties.append((FIGURES, experiment.figures))
        yield experiment
