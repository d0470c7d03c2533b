"""Where settings come from: the environment, a dotenv file, files with secrets."""

import difflib
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from at_worker.config import telemetry
from at_worker.config import values as reading
from at_worker.config.secrets import PREFIX, Secret, is_name
from at_worker.config.settings import Settings, Variable, secret_variables, variable_of, variables
from at_worker.config.telemetry import Telemetry
from at_worker.config.values import is_loopback

DOTENV_FILES = (Path(".env"), Path("/app/.env"))

# Kubernetes and Docker tell each container where the others are.
_INJECTED = re.compile(r"_SERVICE_HOST$|_PORT$|_PORT_")

_SUFFIX = re.compile("_(FILE|HOSTS)$")


class ConfigError(Exception):
    """Settings that cannot be used; the message lists every one of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "\n".join(["cannot start, these settings are wrong:", *(f"  {p}" for p in problems)])
        )
        self.problems = problems


def load(environ: Mapping[str, str] = os.environ, dotenv_files: tuple[Path, ...] = DOTENV_FILES) -> Settings:
    """Read the settings from the environment, else from the first dotenv file there is.

    A secret `NAME` may come from the file that `NAME_FILE` names. Raises ConfigError with all problems.
    """
    sources = _sources(environ, dotenv_files)
    values: dict[str, Any] = {}
    problems: list[str] = []
    given: set[str] = set()
    for setting in fields(Settings):
        variable = variable_of(setting)
        if variable is None:
            continue
        try:
            text = _given(variable, sources)
            if text:
                given.add(variable.name)
            text = text or variable.default or _derived(variable.name, values)
            values[setting.name] = variable.parse(text)
        except ValueError as error:
            problems.append(_problem(variable, error))
    problems += _conflicts(values)
    secrets = _secrets(sources, problems)
    traces = _telemetry(sources, problems)
    if problems:
        raise ConfigError(problems)
    return Settings(**values, secrets=secrets, telemetry=traces, given=frozenset(given))


def is_setting(name: str) -> bool:
    """Whether a variable of the environment is one of ours, or names a file with the value of one."""
    return name.startswith((PREFIX, telemetry.PREFIX)) or any(
        name.removesuffix("_FILE") == v.name for v in variables()
    )


def unknown(
    environ: Mapping[str, str] = os.environ, dotenv_files: tuple[Path, ...] = DOTENV_FILES
) -> dict[str, str | None]:
    """What looks like a setting of the worker and is none, with the nearest name that is: typing errors.

    Names that orchestrators set for a service called worker are left out. Raises ConfigError.
    """
    known = [variable.name for variable in variables()]
    known += [f"{variable.name}_FILE" for variable in variables() if variable.secret]
    strange = {
        name
        for source in _sources(environ, dotenv_files)
        for name in source
        if name.startswith("WORKER_") and name not in known and not _INJECTED.search(name)
    }
    return {name: next(iter(difflib.get_close_matches(name, known, n=1)), None) for name in sorted(strange)}


def _sources(environ: Mapping[str, str], dotenv_files: tuple[Path, ...]) -> list[Mapping[str, str | None]]:
    """The environment, then the first dotenv file there is."""
    for path in dotenv_files:
        try:
            if path.is_file():
                return [environ, dotenv_values(path, interpolate=False)]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{path} cannot be read: {error}"]) from None
    return [environ]


def _conflicts(values: Mapping[str, Any]) -> list[str]:
    """Settings that are right one by one and wrong together; those that are wrong alone are missing here."""
    host = values.get("smtp_host", "")
    if values.get("smtp_tls") == "none" and values.get("smtp_user") and not is_loopback(host):
        return [f"SMTP_TLS: none would send the password of SMTP_USER in clear text to {host}"]
    return []


def _secrets(sources: list[Mapping[str, str | None]], problems: list[str]) -> dict[str, Secret]:
    """The secrets that payloads may name; what is wrong with others is added to `problems`."""
    written = {name for source in sources for name in source if name.startswith(PREFIX)}
    secrets: dict[str, Secret] = {}
    for name in sorted({_SUFFIX.sub("", name.removeprefix(PREFIX)) for name in written}):
        found = []
        for variable in secret_variables(name):
            try:
                found.append(variable.parse(_given(variable, sources)))
            except ValueError as error:
                problems.append(_problem(variable, error))
        match found:
            case [None, None]:
                pass
            case [_, _] if not is_name(name):
                problems.append(f"{PREFIX}{name}: the name of a secret has A-Z, 0-9 and _ alone")
            case [None, _]:
                problems.append(f"{PREFIX}{name}: is not set, and {PREFIX}{name}_HOSTS is")
            case [value, bound]:
                secrets[name] = Secret(value, bound or ())
    return secrets


def _telemetry(sources: list[Mapping[str, str | None]], problems: list[str]) -> Telemetry:
    """The variables of OpenTelemetry; headers, which may hold a key, may come from files."""
    written = {name for source in sources for name in source if name.startswith(telemetry.PREFIX)}
    found: dict[str, str] = {}
    for name in sorted(written | set(telemetry.HEADERS)):
        variable = Variable(name, "", reading.anything, "", secret=name in telemetry.HEADERS)
        try:
            if text := _given(variable, sources):
                found[name] = text
        except ValueError as error:
            problems.append(_problem(variable, error))
    return Telemetry(found)


def _problem(variable: Variable, error: ValueError) -> str:
    return f"{variable.name}: {'its value ' if variable.secret else ''}{error}"


def _given(variable: Variable, sources: list[Mapping[str, str | None]]) -> str:
    for source in sources:
        if text := (source.get(variable.name) or "").strip():
            return text
        path = (source.get(f"{variable.name}_FILE") or "").strip() if variable.secret else ""
        if path:
            return _from_file(variable.name, path)
    return ""


def _from_file(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        why = error.strerror or error
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    raise ValueError(f"cannot be read from {name}_FILE ({path}): {why}")


def _derived(name: str, values: Mapping[str, Any]) -> str:
    """Defaults that depend on the machine or on other settings."""
    match name:
        case "WORKER_ID":
            return socket.gethostname()
        case "SMTP_TLS":
            return "tls" if values.get("smtp_port") == 465 else "starttls"
        case "SMTP_FROM":
            return f"at-worker@{socket.gethostname()}"
        case _:
            return ""
