"""Keeps a private broker: it ends, and its files go, when the process that started this one ends.

Run as a program with a JSON object: `epmd` and `broker` (command lines), `environment`, `home`. It answers
`start` and `stop` on standard input with one line each; the end of its input is its own end, and comes
even when the test process is killed with -9.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


def _spawn(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    # Its own session: a Ctrl-C in the terminal reaches pytest alone, which then stops things in order.
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    if process.poll() is None:
        # A program that SIGSTOP froze takes SIGTERM only once it runs again.
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serve(spec: dict[str, Any]) -> None:
    home = Path(spec["home"])
    environment = spec["environment"]
    # The Erlang runtime would leave an epmd of its own behind as a daemon; this one is a child.
    epmd = _spawn(spec["epmd"], environment, home / "epmd.log")
    broker = None
    try:
        for line in sys.stdin:
            if broker is not None:
                _end(broker, signal.SIGTERM)
            if line.strip() == "start":
                broker = _spawn(spec["broker"], environment, home / "broker.log")
            print(broker.pid if broker else 0, flush=True)  # noqa: T201 - the answer
    finally:
        for process in filter(None, (broker, epmd)):
            _end(process, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_OK))
    _serve(json.loads(sys.argv[1]))
