"""Whether the database answers, as one thing that all loops share and the log tells once."""

import logging
import threading
import time

from at_worker.store.errors import Away

logger = logging.getLogger(__name__)

REMIND = 30.0


class Outage:
    """Hears how every use of the database went; `up` is None before the first, `count` that of outages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = 0.0
        self.up: bool | None = None
        self.count = 0

    def observe(self, error: Away | None) -> None:
        """Log the beginning and the end of an outage, and a reminder every half minute between them."""
        if error is None and self.up:
            return
        with self._lock:
            now = time.monotonic()
            if error is None:
                if not self.up:
                    logger.info("Successfully connected to database")
                self.up = True
            elif self.up is not False or now - self._told >= REMIND:
                self.count += self.up is not False
                self.up = False
                self._told = now
                logger.error("Failed to connect to database: %s", error)
