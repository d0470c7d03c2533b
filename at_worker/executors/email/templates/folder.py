"""The directory that templates come from: nothing outside of it is read, whatever a name says."""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from at_worker.plugin import MissingSetting

LARGEST = 1_048_576
ENDINGS = (".txt", ".html")

# A file or directory whose name begins with a full stop is nobody's template.
_PART = re.compile(r"[^./\\\x00][^/\\\x00]*")
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})


class Absent(Exception):
    """There is no such file; the message says so."""


class Unfit(Exception):
    """There is something of that name, and it cannot be a template; the message says why."""


@dataclass(frozen=True, slots=True)
class File:
    """A text, and the state of the file that it was read from."""

    text: str
    path: Path
    state: tuple[int, ...]

    def is_current(self) -> bool:
        """Whether the file is still the one that was read."""
        try:
            return _state(self.path.stat()) == self.state
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Folder:
    """The directory that SMTP_TEMPLATES names."""

    path: Path

    def read(self, name: str) -> File:
        """Read the file of this name, with / between its parts. Raises Absent, Unfit and MissingSetting."""
        if not all(map(_PART.fullmatch, name.split("/"))):
            raise Absent(f"{name!r} is not the name of a template")
        path = self.path / name
        try:
            return self._read(name, path)
        except OSError as error:
            # Without the directory nobody can tell what is in it, and it may be back in a moment.
            if error.errno in _ABSENT and self.path.is_dir():
                if os.path.islink(path):  # noqa: PTH114 - Path asks for names of a sensible length
                    raise Unfit(f"{name} is a link that leads nowhere") from None
                raise Absent(f"there is no {name} in SMTP_TEMPLATES") from None
            raise _unreadable(error) from None

    def names(self) -> Iterator[str]:
        """Every file that can be a template. Raises MissingSetting."""
        for directory, below, files in os.walk(self.path, onerror=_raise):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for file in sorted(files):
                if file.endswith(ENDINGS) and not file.startswith("."):
                    yield (Path(directory) / file).relative_to(self.path).as_posix()

    def _read(self, name: str, path: Path) -> File:
        # A link to the directory itself may lead elsewhere meanwhile: that is how releases are switched.
        real = _resolved(path)
        if not real.is_relative_to(_resolved(self.path)):
            raise Unfit(f"{name} leads out of SMTP_TEMPLATES")
        if not real.is_file():
            raise Unfit(f"{name} is not a file")
        with real.open("rb") as file:
            state = _state(os.fstat(file.fileno()))
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Unfit(f"{name} is larger than {LARGEST:,} bytes")
        try:
            return File(content.decode("utf-8-sig"), path, state)
        except UnicodeDecodeError:
            raise Unfit(f"{name} is not UTF-8") from None


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path, strict=True))  # Path.resolve has a RuntimeError of its own for loops


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _raise(error: OSError) -> None:
    raise _unreadable(error)


def _unreadable(error: OSError) -> MissingSetting:
    return MissingSetting("template", f"SMTP_TEMPLATES: {error.filename} cannot be read: {error.strerror}")
