"""Values of options: JSON, texts and files, given in words, as @FILE, or - for standard input."""

import base64
import mimetypes
import sys
from pathlib import Path

import click

from at_worker import jsontext
from at_worker.cli.errors import WrongArgument
from at_worker.config.values import delays
from at_worker.jsontext import Json


def json_value(_: click.Context, parameter: click.Parameter, value: str | None) -> Json:
    """JSON, @FILE with JSON, or -: for a callback of click."""
    if value is None:
        return None
    name, text = _name(parameter), value
    if value == "-":
        text = _stdin(name)
    elif value.startswith("@"):
        text = _file(name, value[1:])
    try:
        return jsontext.parse(text)
    except ValueError as error:
        raise WrongArgument(f"{name}: the value {error}") from None


def text_value(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A text as it stands, or -."""
    return _stdin(_name(parameter)) if value == "-" else value


def pairs(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    """`NAME: VALUE`, as headers are written."""
    found = {}
    for value in values:
        name, colon, rest = value.partition(":")
        if not colon or not name.strip():
            raise WrongArgument(f"{_name(parameter)}: {value!r} is not 'NAME: VALUE'")
        found[name.strip()] = rest.strip()
    return found or None


def members(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Json] | None:
    """`NAME=VALUE`; a value that is JSON or @FILE is read as such, any other is a text."""
    found: dict[str, Json] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name:
            raise WrongArgument(f"{_name(parameter)}: {value!r} is not NAME=VALUE")
        if rest.startswith("@"):
            rest = _file(_name(parameter), rest[1:])
        try:
            found[name] = jsontext.parse(rest)
        except ValueError:
            found[name] = rest
    return found or None


def attachments(_: click.Context, parameter: click.Parameter, paths: tuple[str, ...]) -> list[Json] | None:
    """Files, as attachments of mails."""
    found: list[Json] = []
    for path in paths:
        content = _read(_name(parameter), path)
        kind, encoding = mimetypes.guess_type(path)
        if kind is None or encoding is not None:
            kind = "application/octet-stream"
        found.append(
            {
                "filename": Path(path).name,
                "content_base64": base64.b64encode(content).decode(),
                "content_type": kind,
            }
        )
    return found or None


def retry_delays(_: click.Context, parameter: click.Parameter, value: str | None) -> list[Json] | None:
    """`30s,2m`, as intervals for PostgreSQL."""
    if value is None:
        return None
    try:
        return [f"{seconds:.3f} s" for seconds in delays(value)]
    except ValueError as error:
        raise WrongArgument(f"{_name(parameter)}: {error}") from None


def _name(parameter: click.Parameter) -> str:
    return parameter.opts[0]


def _stdin(name: str) -> str:
    return _decoded(name, sys.stdin.buffer.read())


def _file(name: str, path: str) -> str:
    return _decoded(name, _read(name, path))


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise WrongArgument(f"{name}: {path}: {error.strerror}") from None


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise WrongArgument(f"{name}: what was given is not UTF-8") from None
