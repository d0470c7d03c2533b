import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import rabbitmq, rabbitmq_fetch

START = """
import json, os, tests.servers.rabbitmq_fetch, tests.servers.rabbitmq as rabbitmq
os.environ.pop(tests.servers.rabbitmq_fetch.EXTERNAL, None)
with rabbitmq.broker() as broker:
    broker.freeze()
    print(json.dumps([broker._pid, broker._keeper.pid]), flush=True)
    input()
"""


def test_a_broker_ends_with_the_process_that_started_it_even_frozen_and_by_kill_9() -> None:
    if os.environ.get(rabbitmq_fetch.EXTERNAL):
        return  # no broker is ours to end
    here = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", START], cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pids = json.loads(owner.stdout.readline())
        watched = [os.pidfd_open(pid) for pid in pids]
        owner.send_signal(signal.SIGKILL)
        for ended in watched:
            assert select.select([ended], [], [], 20)[0], "still there"
            os.close(ended)


def test_a_machine_that_cannot_fetch_a_broker_is_told_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(rabbitmq_fetch.EXTERNAL, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(rabbitmq_fetch.NoBroker, match="AT_TEST_AMQP_URL") as caught, rabbitmq.broker():
        pass
    assert "\n" not in str(caught.value)
