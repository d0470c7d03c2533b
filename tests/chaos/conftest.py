from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.experiment import Experiment
from tests.chaos.ledger import RecordingEndpoint
from tests.tables import Table

TIMEOUT = 120.0
HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "patient: waits so long that only `make chaos` runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A larger experiment may take longer; only a larger one has those that wait for long."""
    if config.getoption("--chaos-size") <= 1:
        patient = [item for item in items if item.get_closest_marker("patient")]
        config.hook.pytest_deselected(items=patient)
        items[:] = [item for item in items if item not in patient]
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT * max(1.0, config.getoption("--chaos-size"))))


@pytest.fixture
def experiment(table: Table, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Experiment]:
    seed = request.config.getoption("--chaos-seed")
    request.node.add_report_section("setup", "seed", f"repeat it with --chaos-seed={seed}")
    random = Random(f"{seed} {request.node.name}")  # noqa: S311 - chooses faults, guards no secret
    size = request.config.getoption("--chaos-size")
    with RecordingEndpoint() as receiver:
        yield Experiment(table, receiver, tmp_path, random, size)
