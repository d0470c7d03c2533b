"""What the at(1) of Debian answered, and where we answer something else on purpose.

In corpus.jsonl a line with a zone and a moment stands before the specifications that were asked then: each
with the answer of at(1) and, where ours differs, with ours and the reason.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from at_worker.timespec import parse, parse_posix_t
from tests.timespec.specifications import moment

CORPUS = Path(__file__).with_name("corpus.jsonl")


@dataclass(frozen=True, slots=True)
class Entry:
    """Answers are ISO 8601, `past` or `garbled`."""

    zone: str
    now: str
    spec: str
    theirs: str
    ours: str
    reason: str | None

    @property
    def moment(self) -> datetime:
        return moment(self.zone, self.now)


def entries() -> Iterator[Entry]:
    zone = now = ""
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        match json.loads(line):
            case {"zone": zone, "now": now}:
                pass
            case [spec, theirs]:
                yield Entry(zone, now, spec, theirs, theirs, None)
            case [spec, theirs, answer, reason]:
                yield Entry(zone, now, spec, theirs, answer, reason)


def ours(spec: str, now: datetime) -> str:
    """Our answer, in the words of the corpus."""
    exact = spec.removeprefix("-t ")
    try:
        return (parse(spec, now) if exact == spec else parse_posix_t(exact, now)).isoformat()
    except ValueError as error:
        return "past" if "has passed" in str(error) else "garbled"
