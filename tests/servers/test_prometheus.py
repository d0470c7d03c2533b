import os
from pathlib import Path

import pytest

from tests.servers import debian
from tests.servers.prometheus import program


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has only what the test puts there."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    monkeypatch.setenv("PATH", os.fspath(tmp_path))


def test_one_that_is_installed_is_used(tmp_path: Path) -> None:
    installed = tmp_path / "promtool"
    installed.touch(0o755)
    assert program("promtool") == os.fspath(installed)


def test_a_machine_that_cannot_fetch_one_is_told_the_other_way() -> None:
    with pytest.raises(debian.Unavailable, match=r"^no prometheus for the tests: .*; once it is installed"):
        program("prometheus")
