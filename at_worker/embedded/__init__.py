"""An embedded PostgreSQL: a durable server in its own directory, which ends with the process it serves."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from at_worker.embedded.cluster import EmbeddedError, find_binaries

__all__ = ["EmbeddedError", "default_directory", "serve"]


def default_directory() -> Path:
    """The place of the user's own embedded database, by the XDG base directory specification."""
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():
        data_home = Path.home() / ".local" / "share"
    return data_home / "at-worker" / "postgres"


@contextmanager
def serve(directory: Path) -> Iterator[str]:
    """A `postgresql://` address of the server that lives in `directory`, which is created when it is missing.

    A server that runs there already, for another process, is shared and left running.
    Raises EmbeddedError, one line that says why, when there can be no server.
    """
    find_binaries()
    # A session of its own, so that Ctrl-C in a terminal ends the worker first and the database after it.
    with subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "at_worker.embedded.keeper", str(directory.absolute())],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as keeper:
        try:
            line = keeper.stdout.readline() if keeper.stdout else b""
            answer: dict[str, str] = (
                json.loads(line) if line else {"error": "its keeper ended without a word"}
            )
            if "error" in answer:
                raise EmbeddedError(f"The embedded PostgreSQL did not start: {answer['error']}")
            yield answer["dsn"]
        finally:
            keeper.communicate()  # closes its standard input, which ends it
