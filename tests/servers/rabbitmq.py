"""A real RabbitMQ for the tests: the one that AT_TEST_AMQP_URL names, else a private one.

The private one runs on loopback ports of its own, with its own data, as whoever runs the tests.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import debian

EXTERNAL = "AT_TEST_AMQP_URL"
MEBIBYTE = 1_048_576


class NoBroker(Exception):
    """No RabbitMQ can be had; the message is one line and names the other way."""

    def __init__(self, why: str) -> None:
        super().__init__(f"no RabbitMQ for the tests: {why}; name a running one in {EXTERNAL}=amqp://...")


@dataclass(frozen=True, slots=True)
class External:
    """A broker that somebody else runs; the largest limit that a version of RabbitMQ has by default."""

    url: str
    max_message_bytes: int = 128 * MEBIBYTE


class Broker:
    """A private broker that can be stopped, started again with its data, frozen and thawed."""

    max_message_bytes = MEBIBYTE

    def __init__(self, root: Path, home: Path) -> None:
        self._port, distribution, epmd = _free_ports(3)
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}/%2F"
        self._log = home / "broker.log"
        self._pid = 0
        spec = _spec(root, home, self._port, distribution, epmd)
        self._environment, (self._program,) = spec["environment"], spec["broker"]
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("rabbitmq_keeper.py")), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self) -> None:
        self._pid = self._tell("start")
        deadline = time.monotonic() + 60
        while not _speaks_amqp(self._port):
            if time.monotonic() > deadline or not _runs(self._pid):
                raise NoBroker(f"the private one did not start ({_last_line(self._log)})")
            time.sleep(0.05)

    def stop(self) -> None:
        self._tell("stop")

    def kill(self) -> None:
        """SIGKILL, as if its machine had gone."""
        os.kill(self._pid, signal.SIGKILL)
        self._tell("stop")

    @contextmanager
    def out_of_memory(self) -> Iterator[None]:
        """It blocks whoever publishes, during the block."""
        self._control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            yield
        finally:
            self._control("set_vm_memory_high_watermark", "0.4")

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def close(self) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait(60)
        self._keeper.stdout.close()

    def _control(self, *arguments: str) -> None:
        program = Path(self._program).with_name("rabbitmqctl")
        subprocess.run([program, "--quiet", *arguments], env=self._environment, check=True, timeout=60)

    def _tell(self, command: str) -> int:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{command}\n")
        self._keeper.stdin.flush()
        answer = self._keeper.stdout.readline()
        if not answer:
            raise NoBroker(f"the private one's keeper ended ({_last_line(self._log)})")
        return int(answer)


@contextmanager
def broker() -> Iterator[Broker | External]:
    """A running broker; the private one ends with the block, or with this process however that ends.

    Raises NoBroker.
    """
    if url := os.environ.get(EXTERNAL):
        yield External(url)
        return
    try:
        root = debian.unpacked()
    except debian.Unavailable as error:
        raise NoBroker(str(error)) from None
    home = Path(tempfile.mkdtemp(prefix="at-worker-rabbitmq-"))
    private = Broker(root, home)
    try:
        private.start()
        yield private
    finally:
        private.close()


def _spec(root: Path, home: Path, port: int, distribution: int, epmd: int) -> dict[str, Any]:
    """What the keeper runs, and the files that it needs."""
    erlang = root / "usr/lib/erlang"
    server = next((root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
    (home / "plugins").write_text("[].\n")
    (home / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        f"max_message_size = {Broker.max_message_bytes}\n"
        "disk_free_limit.absolute = 50MB\n"
        "log.console = true\n"
        "log.file = false\n"
    )
    environment = {
        "PATH": f"{erlang}/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LD_LIBRARY_PATH": debian.libraries(root),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"at{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_START_ARGS": "-noinput",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
    }
    return {
        "home": str(home),
        "environment": environment,
        "epmd": [str(next(erlang.glob("erts-*/bin/epmd"))), "-port", str(epmd), "-address", "127.0.0.1"],
        "broker": [str(server / "sbin/rabbitmq-server")],
    }


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _speaks_amqp(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"AMQP\x00\x00\x09\x01")
        return client.recv(1) == b"\x01"
    return False


def _runs(pid: int) -> bool:
    # A process that ended stays a zombie until its keeper, the parent, waits for it.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _last_line(log: Path) -> str:
    with suppress(OSError):
        return ([line for line in log.read_text().splitlines() if line.strip()] or ["it said nothing"])[-1]
    return "it wrote no log"
