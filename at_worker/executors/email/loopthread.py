"""An asyncio event loop in a thread of its own, for callers in many threads."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Starts at its first use, so that who never uses it never pays for it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine to its end. Raises CancelledError when `close` comes first."""
        with self._lock:
            if self._closed:
                raise CancelledError
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        return future.result()

    def close(self, farewell: Callable[[], Awaitable[None]]) -> None:
        """Cancel what runs, await `farewell` and end the thread; only the first call does."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first and self._loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(_wind_up(farewell), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _wind_up(farewell: Callable[[], Awaitable[None]]) -> None:
    unfinished = asyncio.all_tasks() - {asyncio.current_task()}
    for task in unfinished:
        task.cancel()
    await asyncio.gather(*unfinished, return_exceptions=True)
    await farewell()
    # Transports tell of their end a turn of the loop after it.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
