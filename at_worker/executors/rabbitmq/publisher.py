"""Publishes for any number of threads over the one connection, each message with its own deadline."""

import logging
import threading
import time
from concurrent.futures import Future
from functools import partial

from at_worker.executors.rabbitmq.connection import Connection
from at_worker.executors.rabbitmq.message import Answered, Delivery, Message, Refusal, Request

GOODBYE = 1.0  # seconds for a polite end of the connection
LOOK_AGAIN = 0.05  # seconds between two looks for what has run out of time
LINGER = 0.001  # seconds; while the broker is busy with earlier messages, later ones travel together

log = logging.getLogger(__name__)


class Publisher:
    """The connection and the thread that runs it, both from the first use until `close`.

    `name` is what the broker lists the connection as. Raises ConfigError.
    """

    def __init__(self, url: str, name: str) -> None:
        self._connection = Connection(url, name)
        self._loop = self._connection.loop
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._woken = False
        self._asked: list[Request] = []
        self._look_timer: object = None

    @property
    def target(self) -> str:
        return self._connection.target

    def publish(self, message: Message, deadline: float, answered: Answered) -> None:
        """Publish; `answered` hears the broker's answer, or by `deadline` (monotonic) why there is none."""
        self._ask(Delivery(message, deadline, answered))

    def reach(self, deadline: float) -> str:
        """Connect and say what was reached. Raises ConnectionError with one line."""
        answer: Future[Refusal | None] = Future()
        self._ask(Request(deadline, answer.set_result))
        if refusal := answer.result():
            raise ConnectionError(refusal.reason)
        return self._connection.banner

    def close(self) -> None:
        """End the connection and its thread, within 2 s even where the broker does not answer."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._thread is None:
            self._loop.close()
        else:
            self._loop.add_callback_threadsafe(partial(self._connection.leave, GOODBYE))
            self._thread.join(2 * GOODBYE)

    def _ask(self, request: Request) -> None:
        with self._lock:
            closed = self._closed
            if not closed:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="rabbitmq", daemon=True)
                    thread.start()
                    self._thread = thread
                self._asked.append(request)
                self._connection.waiting.append(request)
                if not self._woken:
                    # One wake-up serves all that arrive until the loop turns to them.
                    self._woken = True
                    self._loop.add_callback_threadsafe(self._turn)
        if closed:
            request.answer(Refusal(f"the connection to {self.target} is closed"))

    def _turn(self) -> None:
        if self._connection.is_busy:
            self._loop.call_later(LINGER, self._write)
        else:
            self._write()

    def _write(self) -> None:
        self._woken = False
        if self._look_timer is None:
            self._look_again()
        self._connection.dispatch()

    def _look(self) -> None:
        """Give up what has run out of time."""
        with self._lock:
            self._asked = [request for request in self._asked if not request.is_answered]
            asked = list(self._asked)
        self._look_timer = None
        if asked:
            self._look_again()
        now = time.monotonic()
        for request in asked:
            if request.deadline <= now and not request.is_answered:
                self._connection.abandon(request)

    def _look_again(self) -> None:
        self._look_timer = self._loop.call_later(LOOK_AGAIN, self._look)

    def _run(self) -> None:
        while True:
            try:
                self._loop.start()
                break
            except Exception:
                if self._closed:
                    # pika fails an assertion of its own when it is closed while it connects (seen in 1.4.4).
                    break
                # The loop has to outlive whatever pika or a callback does.
                log.exception("the connection to %s failed and is opened anew", self.target)
                self._connection.drop(f"connection to {self.target} lost to an internal error")
                # What was due may have been lost with the others of its instant.
                if self._look_timer is not None:
                    self._loop.remove_timeout(self._look_timer)
                    self._look_timer = None
                self._loop.add_callback_threadsafe(self._write)
        self._loop.close()
        for request in self._asked:
            request.answer(Refusal(f"the connection to {self.target} is closed"))
