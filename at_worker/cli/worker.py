"""`at-worker worker`: one worker process, which `at-worker run` starts."""

import logging
import os
import socket
import sys
import threading

import click

from at_worker.cli.errors import settings
from at_worker.config import ConfigError
from at_worker.engine.stop import EXIT_SETTINGS


@click.command(hidden=True)
@click.argument("boot_id")
def worker(boot_id: str) -> None:
    """Run one worker under the parent process at the other end of standard input."""
    # The executors come with it, which the parent and the other commands do without.
    from at_worker import app  # noqa: PLC0415 - others do without it

    line = _line()
    try:
        code = app.run(settings(warn=False), boot_id, line)
    except ConfigError:
        sys.exit(EXIT_SETTINGS)  # the parent tells
    if any(thread.name == "runner" and thread.is_alive() for thread in threading.enumerate()):
        # A task that never returns must not keep the process.
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


def _line() -> socket.socket:
    """The socket to the parent. Standard input is then empty, for plug-ins and what they start."""
    try:
        line = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    except OSError:
        raise click.UsageError("only at-worker run starts this command") from None
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return line
