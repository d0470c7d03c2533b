"""The caller's time zone, and how times are read and said in it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

import click

from at_worker import timespec
from at_worker.cli.errors import WrongArgument


class _Local(tzinfo):
    """The zone that TZ names, else the system's, with all its changes: the C library knows both."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().dst()

    def tzname(self, moment: datetime | None) -> str | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        # Whole seconds, because a float has no room for all microseconds of all years.
        whole = moment.replace(tzinfo=UTC, microsecond=0).timestamp()
        wall = datetime.fromtimestamp(whole)  # noqa: DTZ006 - the caller's zone is meant
        return wall.replace(microsecond=moment.microsecond, tzinfo=self)


LOCAL = _Local()

words_argument = click.argument("timespec", metavar="TIMESPEC", nargs=-1)
posix_t_option = click.option(
    "-t", "posix_t", metavar="[[CC]YY]MMDDhhmm[.SS]", help="Instead of TIMESPEC, as for at -t."
)


def read(spec: str, now: datetime, *, past: bool = False) -> datetime:
    """The instant, in UTC, that a specification means at `now`, which is the database's.

    Raises WrongArgument, also for one that has passed, unless it may be `past`.
    """
    try:
        return timespec.parse(spec, now.astimezone(LOCAL), past=past).astimezone(UTC)
    except ValueError as error:
        raise WrongArgument(str(error)) from None


def read_words(words: Sequence[str], posix_t: str | None, now: datetime) -> datetime:
    """The same for a TIMESPEC of several words, or the `[[CC]YY]MMDDhhmm[.SS]` of -t instead."""
    if posix_t is None:
        if not words:
            raise WrongArgument("say when: a TIMESPEC, or -t")
        return read(" ".join(words), now)
    if words:
        raise WrongArgument("say when with a TIMESPEC or with -t, not with both")
    try:
        return timespec.parse_posix_t(posix_t, now.astimezone(LOCAL)).astimezone(UTC)
    except ValueError as error:
        raise WrongArgument(str(error)) from None


def short(moment: datetime) -> str:
    """`2026-11-27 16:00:00`, for tables."""
    return f"{moment.astimezone(LOCAL):%Y-%m-%d %H:%M:%S}"


def full(moment: datetime) -> str:
    """`2026-11-27 16:00:00.250+01:00`, for one task."""
    return moment.astimezone(LOCAL).isoformat(" ", "milliseconds")


def as_at(moment: datetime) -> str:
    """`Fri Nov 27 16:00:00 2026`, as at(1) says it in any locale."""
    return f"{moment.astimezone(LOCAL):%a %b %e %H:%M:%S %Y}"
