from collections.abc import Iterator

import pytest

from tests.worker.endpoint import Endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def dsn(emptied_dsn: str) -> str:
    """A worker of the test before may not know yet that it was killed: with its sessions it goes."""
    return emptied_dsn
