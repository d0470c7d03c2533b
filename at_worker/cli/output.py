"""What commands print: lines for people, or JSON Lines for scripts, one object a line.

No control character of a row reaches the terminal in either, and no secret that at_worker.redact knows.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import click

from at_worker import jsontext
from at_worker.text import visible

# Legal in a JSON text as they are, and nothing for a terminal.
_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

UNSEEN = "Your role may not see payload, context, dedupe_key and result."

json_option = click.option(
    "--json", "as_json", is_flag=True, help="For scripts: one JSON object a line, times in UTC."
)


def say(line: str, *, err: bool = False) -> None:
    """Print one line for people."""
    click.echo(visible(line), err=err)


def say_lines(text: str) -> None:
    """Print a text of several lines; tabs stay."""
    for line in text.split("\n"):
        click.echo("\t".join(map(visible, line.removesuffix("\r").split("\t"))))


def tasks(count: int) -> str:
    """So many tasks."""
    return f"{count:,} {'task' if count == 1 else 'tasks'}"


def emit(record: Mapping[str, object]) -> None:
    """Print one line of JSON: times as ISO 8601 in UTC, lengths of time in seconds."""
    click.echo(inert(jsontext.render(_plain(record))))


def inert(rendered: str) -> str:
    """The same JSON with everything escaped that a terminal would obey."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", rendered)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
