"""Free text in a mail header: checked, decoded and folded, RFC 2047 and RFC 5322."""

from email.header import Header
from email.policy import SMTP

from at_worker.executors import fields

_LONGEST_PLAIN_WORD = 900


def decoded(where: str, value: str) -> str:
    """Read encoded words as what they mean; a line break among it would begin a header of its own."""
    text = _checked(where, value)
    if "=?" in text:
        text = _checked(where, str(SMTP.header_factory("Subject", text)))
    return text.strip()


def folded(name: str, value: str) -> str:
    """The whole header, without its last line break; encoded words where ASCII or the line length end."""
    plain = (
        value.isascii() and "=?" not in value and all(len(w) < _LONGEST_PLAIN_WORD for w in value.split(" "))
    )
    header = Header(value, "us-ascii" if plain else "utf-8", maxlinelen=76, header_name=name)
    return f"{name}: " + header.encode(splitchars=" ", linesep="\r\n")


def _checked(where: str, value: str) -> str:
    fields.refuse_control_characters(where, value)
    fields.utf8(where, value)
    return value
