"""Small real HTTP servers: a receiver that keeps what arrives, byte for byte, and raw sockets for faults."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Self

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came in; `head` holds the exact bytes of its request line and headers."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    head: bytes
    client: tuple[str, int]

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str:
        """The value of a header that is there exactly once."""
        (value,) = self.values(name)
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answers with."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """Answers every request and keeps it in `arrivals`: with 200, or as `script` says."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.arrivals: list[Arrival] = []
        self._replies: list[Reply] = []
        self._arrived = threading.Condition()
        self._server = _Server(self, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="receiver")
        self.port = int(self._server.server_address[1])
        self.url = f"http{'s' if tls else ''}://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def script(self, *replies: Reply) -> None:
        """Answer the next requests with these, in this order."""
        with self._arrived:
            self._replies.extend(replies)

    def wait_for(self, count: int, seconds: float = 10) -> list[Arrival]:
        """The arrivals, once there are `count`. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.arrivals) >= count, seconds):
                raise TimeoutError(f"{len(self.arrivals)} of {count} requests arrived within {seconds:g} s")
            return list(self.arrivals)

    def take(self, arrival: Arrival) -> Reply:
        """Keep a request and tell its answer."""
        with self._arrived:
            self.arrivals.append(arrival)
            self._arrived.notify_all()
            return self._replies.pop(0) if self._replies else Reply()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() then waits for them
    request_queue_size = 128

    def __init__(self, receiver: Receiver, tls: ssl.SSLContext | None) -> None:
        self.receiver = receiver
        self.tls = tls
        self._open: set[socket.socket] = set()
        super().__init__((HOST, 0), _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], address: object) -> None:
        assert isinstance(request, socket.socket)
        self._open.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what the tests are about."""

    def hang_up(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        self._plain = self.request
        if self.server.tls:
            # Detached: the socket that the server knows must stay the one to hang up.
            self.request = self.server.tls.wrap_socket(self._plain.dup(), server_side=True)
        super().setup()
        self.rfile = _Recorder(self.rfile)  # type: ignore[assignment] # all that the base class uses of it

    def finish(self) -> None:
        super().finish()
        if self.request is not self._plain:
            self.request.close()

    def _take(self) -> None:
        recorder = self.rfile
        assert isinstance(recorder, _Recorder)
        head = recorder.taken()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        recorder.taken()
        arrival = Arrival(self.command, self.path, self.headers.items(), body, head, self.client_address)
        reply = self.server.receiver.take(arrival)
        self.send_response_only(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_POST = do_GET = do_PUT = do_PATCH = do_DELETE = do_HEAD = _take  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Stay silent: `arrivals` tells."""


class _Recorder:
    """A stream that remembers what was read from it."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._seen = bytearray()

    def readline(self, size: int = -1) -> bytes:
        line = self._stream.readline(size)
        self._seen += line
        return line

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def taken(self) -> bytes:
        seen = bytes(self._seen)
        self._seen.clear()
        return seen

    def close(self) -> None:
        self._stream.close()


Handle = Callable[[socket.socket, threading.Event], None]


@contextmanager
def serving(handle: Handle, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run `handle(connection, stopped)` for every connection in a thread of its own; gives the port.

    `stopped` is set, and every connection shut, when the test is over.
    """
    stopped = threading.Event()
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def run(plain: socket.socket) -> None:
        connection = plain
        try:
            if tls:
                connection = tls.wrap_socket(plain.dup(), server_side=True)
            handle(connection, stopped)
        except OSError:
            pass  # the client went away, as it may
        finally:
            connection.close()
            plain.close()

    def accept() -> None:
        while not stopped.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=run, args=(connection,), name="raw server"))
                threads[-1].start()

    with socket.create_server((HOST, 0), backlog=128) as listener:
        listener.settimeout(0.05)
        accepting = threading.Thread(target=accept, name="raw server")
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stopped.set()
            accepting.join()
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def read_head(connection: socket.socket) -> bytes:
    """Read a request up to the end of its headers."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError("the client hung up")
        head += piece
    return head


@contextmanager
def tunnelling(
    arrivals: list[bytes],
    answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n",
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """A proxy for CONNECT that keeps the heads of the requests to it; gives its port."""

    def handle(client: socket.socket, _: threading.Event) -> None:
        head = read_head(client)
        arrivals.append(head)
        client.sendall(answer)
        if b" 200 " not in answer:
            return
        host, port = head.split()[1].decode().rsplit(":", 1)
        with socket.create_connection((host, int(port))) as target:
            back = threading.Thread(target=_pump, args=(target, client))
            back.start()
            _pump(client, target)
            back.join()

    with serving(handle, tls) as port:
        yield port


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def refusing() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else takes it, but nobody listens."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield int(bound.getsockname()[1])


@contextmanager
def deaf() -> Iterator[int]:
    """A port where connecting takes for ever: its queue of waiting connections is full."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect((HOST, port))
        try:
            yield port
        finally:
            for client in waiting:
                client.close()
