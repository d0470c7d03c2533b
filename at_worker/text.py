"""Texts as PostgreSQL can store them and people can read them."""

import re

LONGEST_ERROR = 4096
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Control characters, line ends, lone surrogates, and what turns the direction of the text around it.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPE_OF_NUL = r"\u0000"
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def clean(text: str) -> str:
    """Replace what a PostgreSQL text cannot hold: NUL and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text)


def clean_json(text: str) -> str:
    """The same for a rendered JSON text, where NUL is an escape that jsonb refuses."""
    # Looking for the escape alone is far quicker, and hardly any text has one.
    return _ESCAPED_NUL.sub("\\1\ufffd", clean(text)) if _ESCAPE_OF_NUL in text else clean(text)


def visible(text: str) -> str:
    """A text of one line that does nothing to a terminal: what is not to be seen is escaped."""
    return _INVISIBLE.sub(lambda found: repr(found[0])[1:-1], text)


def clip(text: str, longest: int = LONGEST_ERROR) -> str:
    """Cut to `longest` characters, the last of them an ellipsis where something is missing."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def one_line(error: BaseException) -> str:
    """Say an exception in one line: its kind and, where it has one, its message."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
