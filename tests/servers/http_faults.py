"""HTTP servers that break: what each does with a connection, in a few lines."""

import itertools
import socket
import struct
import threading
from collections.abc import Iterator

from tests.servers.http import Handle, read_head

OK = b"HTTP/1.1 200 OK\r\n"


def drip(connection: socket.socket, pieces: Iterator[bytes], stopped: threading.Event) -> None:
    for piece in pieces:
        connection.sendall(piece)
        if stopped.wait(0.02):
            return


def hang(_: socket.socket, stopped: threading.Event) -> None:
    stopped.wait()


def hang_after_request(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    stopped.wait()


def hang_in_headers(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    connection.sendall(OK + b"X-Half: ")
    stopped.wait()


def drip_headers(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    drip(connection, itertools.chain([OK, b"X: "], itertools.repeat(b"x")), stopped)


def endless_interim(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    while not stopped.is_set():
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" * 100)


def drip_handshake(connection: socket.socket, stopped: threading.Event) -> None:
    drip(connection, itertools.chain([b"\x16\x03\x03\x40\x00"], itertools.repeat(b"\x02")), stopped)


def drip_body(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    drip(
        connection, itertools.chain([OK + b"Content-Length: 99999\r\n\r\n"], itertools.repeat(b"x")), stopped
    )


def drip_chunks(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    drip(
        connection,
        itertools.chain([OK + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\nx\r\n")),
        stopped,
    )


def endless_body(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    connection.sendall(OK + b"\r\n")
    while not stopped.is_set():
        connection.sendall(b"x" * 65_536)


def endless_headers(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    connection.sendall(OK)
    while not stopped.is_set():
        connection.sendall(b"X-Header: x\r\n" * 1000)


def reset(connection: socket.socket, _: threading.Event) -> None:
    read_head(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_without_answer(connection: socket.socket, _: threading.Event) -> None:
    read_head(connection)


def answer_garbage(connection: socket.socket, _: threading.Event) -> None:
    read_head(connection)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def break_off_body(connection: socket.socket, _: threading.Event) -> None:
    read_head(connection)
    connection.sendall(OK + b"Content-Length: 100\r\n\r\nhalf")


def endless_line(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    connection.sendall(OK + b"X-Header: ")
    while not stopped.is_set():
        connection.sendall(b"x" * 65_536)


def endless_chunks(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while not stopped.is_set():
        connection.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


def endless_trailers(connection: socket.socket, stopped: threading.Event) -> None:
    read_head(connection)
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    while not stopped.is_set():
        connection.sendall(b"X-Trailer: x\r\n" * 1000)


def answer_ok(connection: socket.socket, _: threading.Event) -> None:
    read_head(connection)
    connection.sendall(OK + b"Content-Length: 0\r\n\r\n")


def answering(answer: bytes) -> Handle:
    """Reads the request and answers with these bytes."""

    def handle(connection: socket.socket, _: threading.Event) -> None:
        read_head(connection)
        connection.sendall(answer)

    return handle


FAULTS = (
    hang, hang_after_request, hang_in_headers, drip_headers, endless_interim, drip_handshake, drip_body,
    drip_chunks, endless_body, endless_headers, reset, close_without_answer, answer_garbage, break_off_body,
    endless_line, endless_chunks, endless_trailers,
)  # fmt: skip
