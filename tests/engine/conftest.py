import pytest


@pytest.fixture
def dsn(emptied_dsn: str) -> str:
    """To make a database takes longer than most of these tests."""
    return emptied_dsn
