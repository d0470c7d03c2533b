"""When: the time language of at(1), and ISO 8601."""

from datetime import datetime

from at_worker.timespec import grammar, posix_t
from at_worker.timespec.calendar import resolve

__all__ = ["parse", "parse_posix_t"]


def parse(spec: str, now: datetime, *, past: bool = False) -> datetime:
    """The instant that a specification like `4pm tomorrow` means at `now`, in the zone of `now`.

    The language is that of POSIX (XCU, at), of Debian's at(1), and ISO 8601; README.md has the rules.
    Raises ValueError, with the word that is not understood, or when the instant has passed; one that may be
    `past` is for who looks back.
    """
    return resolve(grammar.read(spec), spec, _aware(now), past=past)


def parse_posix_t(spec: str, now: datetime) -> datetime:
    """The instant that `[[CC]YY]MMDDhhmm[.SS]` means in the zone of `now` (POSIX XCU, touch -t).

    Without a year it is that of `now`. An instant that has passed is as good as any, as in at(1).
    Raises ValueError for anything else, and for a time that the zone leaves out.
    """
    return posix_t.read(spec, _aware(now))


def _aware(now: datetime) -> datetime:
    if now.utcoffset() is None:
        raise ValueError(f"now must have a time zone: {now}")
    return now
