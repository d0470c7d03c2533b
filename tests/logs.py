"""Keeps what a test does to the log of this process from the tests after it."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from at_worker import redact


@contextmanager
def restored() -> Iterator[None]:
    """Let `log.configure` do what it likes, and undo it."""
    root, ours = logging.getLogger(), logging.getLogger("at_worker")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    hooks = sys.excepthook, threading.excepthook
    # Emptied first, or `configure` would close the handlers of pytest.
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        sys.excepthook, threading.excepthook = hooks
        redact.learn(())
