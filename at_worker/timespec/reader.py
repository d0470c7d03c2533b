"""Reads a specification from left to right and tells where it stopped."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from at_worker.text import clip
from at_worker.timespec.words import VOCABULARY

_T = TypeVar("_T")
_LONGEST_QUOTE = 60
_BLANKS = re.compile(r"\s*")
# What a person would call the word: letters, or a number with all that hangs on it.
_WORD = re.compile(r"[a-z]+|[0-9][0-9:.,'/-]*|\S", re.IGNORECASE)


class Reader:
    """A text and how far it has been read. Case does not matter, nor do blanks: `noontoday` is two words."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.position = 0
        self._skip_blanks()

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over what matches here."""
        if match := pattern.match(self._text, self.position):
            self.position = match.end()
            self._skip_blanks()
        return match

    def word(self, table: Mapping[str, _T]) -> _T | None:
        """Step over the longest word of a table that stands here, and give its value."""
        longest = max(map(len, table))
        here = self._text[self.position : self.position + longest].lower()
        found = max((word for word in table if here.startswith(word)), key=len, default="")
        self.position += len(found)
        self._skip_blanks()
        return table.get(found)

    def since(self, position: int) -> str:
        """What has been read from there on."""
        return self._text[position : self.position].rstrip()

    def at_end(self) -> bool:
        """Tell whether all has been read."""
        return self.position == len(self._text)

    def not_understood(self) -> ValueError:
        """An error that names the word here, and the known word that it resembles."""
        if self.at_end():
            return self.wrong("something is missing at its end")
        word = next(found[0] for found in _WORD.finditer(self._text) if found.end() > self.position)
        return self.wrong(f"{quote(word)} is not understood{_hint(word.lower())}")

    def wrong(self, why: str) -> ValueError:
        """An error about the text."""
        return ValueError(f"{quote(self._text)}: {why}")

    def _skip_blanks(self) -> None:
        if blanks := _BLANKS.match(self._text, self.position):
            self.position = blanks.end()


def _hint(word: str) -> str:
    close = get_close_matches(word, VOCABULARY, n=1)
    return f"; is {close[0]!r} meant?" if close and close[0] != word and len(word) > 2 else ""


def quote(text: str) -> str:
    """A text within a message."""
    return repr(clip(text, _LONGEST_QUOTE))
