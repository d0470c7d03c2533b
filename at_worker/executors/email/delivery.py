"""What became of a mail at the server, and what follows from it: RFC 5321 section 4.2.1."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from at_worker import text
from at_worker.jsontext import Json
from at_worker.outcome import Done, Fail, Outcome, Retry

# RFC 4954: a login that is wrong, missing or too weak is the configuration's fault, not the mail's.
_LOGIN_CODES = frozenset({530, 534, 535, 538})
_LONGEST_REPLY = 300
_SHOWN_RECIPIENTS = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply, in one line of bounded length."""

    code: int
    message: str

    @classmethod
    def of(cls, code: int, message: str) -> "Reply":
        """Take a reply as it came from the wire."""
        return cls(code, text.clip(text.clean(" ".join(message.split())), _LONGEST_REPLY))

    @property
    def permanent(self) -> bool:
        return 500 <= self.code <= 599 and self.code not in _LOGIN_CODES

    def __str__(self) -> str:
        return f"{self.code} {self.message}".rstrip()


@dataclass(frozen=True, slots=True)
class Delivered:
    """The server took the mail for all but the refused recipients; `reply` is None when it refused all."""

    reply: Reply | None
    refused: Mapping[str, Reply]


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refused the mail as a whole; `what` names the part it did not like."""

    what: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Broken:
    """The mail did not come through, for a reason that is not a reply to it."""

    reason: str
    permanent: bool = False
    unreachable: bool = False


Report: TypeAlias = Delivered | Refused | Broken


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the recipients of one mail have come over all its attempts."""

    open: tuple[str, ...]
    accepted: tuple[str, ...] = ()
    refused: Mapping[str, Reply] | None = None

    @classmethod
    def read(cls, recipients: Iterable[str], previous: Json) -> "Progress":
        """Read the `result` of earlier attempts.

        Who was refused for good is not tried again while others are open. When nobody is, a person has
        started the failed task anew, and they are.
        """
        before = previous if isinstance(previous, Mapping) else {}
        had = before.get("accepted")
        accepted = tuple(r for r in recipients if isinstance(had, list | tuple) and r in had)
        missing = tuple(r for r in recipients if r not in accepted)
        refused = {r: reply for r, reply in _replies(before.get("refused")).items() if r in missing}
        still_open = tuple(r for r in missing if r not in refused or not refused[r].permanent)
        if not still_open:
            return cls(missing, accepted, {})
        return cls(still_open, accepted, {r: reply for r, reply in refused.items() if r not in still_open})


def conclude(before: Progress, report: Report, server: str, facts: Mapping[str, Json]) -> Outcome:
    """Decide how an attempt to reach `before.open` ended; `facts` go into the result as they are."""
    refused = dict(before.refused or {})
    match report:
        case Broken(reason, permanent, unreachable):
            result = _result(before.accepted, refused, None, facts)
            if unreachable:
                return Retry(reason, result=result, unreachable=True)
            return _failure(permanent, reason, before.accepted, result)
        case Refused(what, reply):
            result = _result(before.accepted, refused, reply, facts)
            return _failure(reply.permanent, f"{server} refused {what}: {reply}", before.accepted, result)
        case Delivered(reply, newly_refused):
            refused |= newly_refused
            accepted = before.accepted + tuple(r for r in before.open if r not in newly_refused)
            result = _result(accepted, refused, reply, facts)
            if not refused:
                return Done(result)
            permanent = all(r.permanent for r in refused.values())
            return _failure(permanent, f"{server} refused {_listed(refused)}", accepted, result)
        case _:
            assert_never(report)


def _failure(permanent: bool, reason: str, accepted: tuple[str, ...], result: Json) -> Outcome:
    if accepted:
        reason += f"; delivered to {_joined(accepted)}"
    return Fail(reason, result) if permanent else Retry(reason, result=result)


def _result(
    accepted: tuple[str, ...], refused: Mapping[str, Reply], reply: Reply | None, facts: Mapping[str, Json]
) -> Json:
    return {
        "reply": None if reply is None else str(reply),
        "accepted": list(accepted),
        "refused": {recipient: str(answer) for recipient, answer in refused.items()},
        **facts,
    }


def _replies(previous: Json) -> dict[str, Reply]:
    if not isinstance(previous, Mapping):
        return {}
    found = {
        r: re.match(r"(\d{3})(?: (.*))?", answer) for r, answer in previous.items() if isinstance(answer, str)
    }
    return {r: Reply(int(match[1]), match[2] or "") for r, match in found.items() if match}


def _listed(refused: Mapping[str, Reply]) -> str:
    return _joined([f"{recipient} ({reply})" for recipient, reply in refused.items()])


def _joined(items: Iterable[str]) -> str:
    every = list(items)
    more = len(every) - _SHOWN_RECIPIENTS
    return ", ".join(every[:_SHOWN_RECIPIENTS]) + (f" and {more} more" if more > 0 else "")
