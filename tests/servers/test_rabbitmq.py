import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import rabbitmq

KEEPER = Path(__file__).with_name("rabbitmq_keeper.py")

# A test process that dies of SIGKILL while the broker it had started is frozen.
OWNER = """
import json, os, signal, subprocess, sys
keeper = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=-1, stdout=-1, text=True)
keeper.stdin.write("start\\n")
keeper.stdin.flush()
broker = int(keeper.stdout.readline())
os.kill(broker, signal.SIGSTOP)
print(keeper.pid, broker, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_test_process_had_started_ends_with_its_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = ["/bin/sleep", "600"]
    spec = {"home": str(home), "environment": {}, "epmd": program, "broker": program}
    command = [sys.executable, "-c", OWNER, str(KEEPER), json.dumps(spec)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        for pid in map(int, owner.stdout.readline().split()):
            _await_end(pid)
    assert not home.exists()


def test_a_machine_that_cannot_fetch_a_broker_is_told_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(rabbitmq.EXTERNAL, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(rabbitmq.NoBroker, match="AT_TEST_AMQP_URL") as caught, rabbitmq.broker():
        pass
    assert "\n" not in str(caught.value)


def _await_end(pid: int) -> None:
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([watched], [], [], 20)[0], f"process {pid} still runs"
    finally:
        os.close(watched)
