"""Files that hold payloads, and so perhaps secrets: only their owner may read them."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from at_worker.cli.errors import Failed, WrongArgument


@contextmanager
def open_private(name: str) -> Iterator[IO[bytes]]:
    """Write a file anew, gzipped where its name ends in .gz. Raises WrongArgument and Failed."""
    try:
        raw = os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
    except OSError as error:
        raise WrongArgument(f"{name} cannot be written: {error.strerror}") from None
    try:
        with raw:
            if name.endswith(".gz"):
                with gzip.GzipFile(fileobj=raw, mode="wb") as file:
                    yield cast("IO[bytes]", file)
            else:
                yield raw
    except OSError as error:
        raise Failed(f"{name} cannot be written: {error.strerror or error}") from None
