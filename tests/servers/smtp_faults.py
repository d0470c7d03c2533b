"""SMTP servers that break: raw sockets, a few lines each."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HOST = "127.0.0.1"


class Line:
    """The server's end of one raw connection."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self.stopping = stopping

    def say(self, text: str) -> None:
        self.send(f"{text}\r\n".encode())

    def send(self, raw: bytes) -> None:
        self._connection.sendall(raw)

    def hear(self) -> str:
        return self._file.readline().decode().rstrip("\r\n")

    def wait_for_end(self) -> None:
        while self._connection.recv(65536):
            pass

    def close(self) -> None:
        self._file.close()
        self._connection.close()


@contextmanager
def raw_server(converse: Callable[[Line], None]) -> Iterator[int]:
    """The port of a server that does with every connection what `converse` does, then closes it."""
    stopping = threading.Event()
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        line = Line(connection, stopping)
        try:
            with suppress(OSError):
                converse(line)
        finally:
            line.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,), name="raw-smtp"))
            threads[-1].start()

    with socket.create_server((HOST, 0)) as listener:
        acceptor = threading.Thread(target=accept, name="raw-smtp-accept")
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopping.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def hang(line: Line) -> None:
    line.wait_for_end()


def drip(line: Line) -> None:
    while not line.stopping.wait(0.05):
        line.send(b"2")


def too_busy(line: Line) -> None:
    line.say("421 4.3.2 too busy")
    line.wait_for_end()


def drop_after_content(line: Line) -> None:
    take_content(line)


def hang_after_content(line: Line) -> None:
    take_content(line)
    line.wait_for_end()


def end_session_at_recipient(line: Line) -> None:
    _obey(line, until="RCPT")
    line.say("421 4.7.0 goodbye")


def nonsense_at_sender(line: Line) -> None:
    _obey(line, until="MAIL")
    line.say("what?")
    line.wait_for_end()


def take_content(line: Line) -> None:
    _obey(line, until="DATA")
    line.say("354 go on")
    while line.hear() != ".":
        pass


def _obey(line: Line, until: str) -> None:
    line.say("220 raw.test ESMTP")
    while not (command := line.hear()).upper().startswith(until):
        if not command:
            raise ConnectionError("the client is gone")
        line.say("250 ok")
