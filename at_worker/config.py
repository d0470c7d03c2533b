"""The settings: each is one field, which gives its variable, default, check and help text."""

import difflib
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values

from at_worker.durations import seconds

DOTENV_FILES = (Path(".env"), Path("/app/.env"))

LISTEN_OFF = "off"

Parse = Callable[[str], Any]

# Kubernetes and Docker tell each container where the others are.
_INJECTED = re.compile(r"_SERVICE_HOST$|_PORT$|_PORT_")
_CENTURY = 36525 * 86400.0  # what threads can wait and dates can be moved by


class ConfigError(Exception):
    """Settings that cannot be used; the message lists every one of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "\n".join(["cannot start, these settings are wrong:", *(f"  {p}" for p in problems)])
        )
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Variable:
    """How one setting is written; `default` is text, as a person would set it."""

    name: str
    default: str
    parse: Parse
    meaning: str
    secret: bool = False
    group: str = ""


def _text(text: str) -> str:
    return text


def _one_of(*choices: str) -> Parse:
    def parse(text: str) -> str:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"{text!r} is none of {', '.join(choices)}")

    return parse


def _whole(least: int, most: int) -> Parse:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
        return number

    return parse


def _duration(unit: str, least: float, most: float = _CENTURY) -> Parse:
    def parse(text: str) -> float:
        length = seconds(text, unit)
        if length < least:
            raise ValueError(f"{text!r} is shorter than {least:g} s")
        if length > most:
            raise ValueError(f"{text!r} is longer than {most:g} s")
        return length

    return parse


def _optional(parse: Parse) -> Parse:
    return lambda text: parse(text) if text else None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    if not names:
        raise ValueError("holds nothing but commas")
    return names


def _delays(text: str) -> tuple[float, ...]:
    delay = _duration("s", 0)
    return tuple(delay(part) for part in _names(text))


def _url(*schemes: str) -> Parse:
    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            fits = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"is not a URL of the form {' or '.join(f'{s}://host:port' for s in schemes)}")
        return text

    return parse


def _database_url(text: str) -> str:
    # Several hosts with a port each, or a socket in the query, are for libpq to read.
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("is not a URL that begins with postgresql:// or postgres://")
    return text


def _sender(text: str) -> str:
    _, at, domain = text.rpartition("@")
    if not at or not domain or not text.isprintable():
        raise ValueError(f"{text!r} is not an e-mail address")
    return text


def _listen_dsn(text: str) -> str:
    return LISTEN_OFF if text.lower() == LISTEN_OFF else _database_url(text)


def _certificates(text: str) -> str:
    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:
        raise ValueError(f"{text!r} holds no readable certificates ({error.strerror or error})") from None
    return text


def _setting(
    name: str, default: str, parse: Parse, meaning: str, *, secret: bool = False, group: str = ""
) -> Any:  # noqa: ANN401 - a dataclass field takes the type of its annotation
    return field(
        repr=not secret, metadata={"variable": Variable(name, default, parse, meaning, secret, group)}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of a worker; all lengths of time are seconds."""

    db_host: str = _setting("DB_HOST", "localhost", _text, "host of PostgreSQL", group="Database")
    db_port: int = _setting("DB_PORT", "5432", _whole(1, 65535), "its port")
    db_user: str = _setting("DB_USER", "postgres", _text, "the role to connect as")
    db_password: str = _setting("DB_PASSWORD", "postgres", _text, "its password", secret=True)
    db_name: str = _setting("DB_NAME", "at_scheduler", _text, "name of the database")
    db_sslmode: str = _setting(
        "DB_SSLMODE",
        "disable",
        _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
        "TLS to the database, as libpq's sslmode",
    )
    database_url: str | None = _setting(
        "DATABASE_URL",
        "",
        _optional(_database_url),
        "wins over the DB_ variables; may name several hosts",
        secret=True,
    )
    listen_dsn: str | None = _setting(
        "LISTEN_DSN",
        "",
        _optional(_listen_dsn),
        "a direct connection for LISTEN behind a pooler; off: poll only (default: the database itself)",
        secret=True,
    )

    worker_id: str = _setting(
        "WORKER_ID", "", _text, "label in logs and `locked_by` (default: host name)", group="Worker"
    )
    polling_interval: float = _setting(
        "WORKER_POLLING_INTERVAL",
        "5",
        _duration("s", 0.01, 30),
        "seconds between looks at the table; the safety net below wake-ups, at most 30",
    )
    batch_size: int = _setting("WORKER_BATCH_SIZE", "10", _whole(1, 10_000), "most tasks one claim takes")
    concurrency: int = _setting(
        "WORKER_CONCURRENCY", "32", _whole(1, 1000), "threads: tasks that run at once"
    )
    cleaner_interval: float = _setting(
        "WORKER_CLEANER_INTERVAL", "5", _duration("m", 1), "minutes between two turns of the cleaner at most"
    )
    stuck_timeout: float = _setting(
        "WORKER_STUCK_TIMEOUT",
        "5",
        _duration("m", 5),
        "minutes without a heartbeat until a task is given to another worker; at least 5s",
    )
    task_timeout: float = _setting(
        "WORKER_TASK_TIMEOUT", "300", _duration("s", 0.1, _CENTURY), "seconds; bound on one attempt"
    )
    task_types: tuple[str, ...] | None = _setting(
        "WORKER_TASK_TYPES",
        "",
        _optional(_names),
        "comma-separated: this worker touches only these (default: all)",
    )
    shutdown_timeout: float = _setting(
        "WORKER_SHUTDOWN_TIMEOUT", "25", _duration("s", 0), "seconds of grace for running tasks after SIGTERM"
    )
    retry_delays: tuple[float, ...] = _setting(
        "WORKER_RETRY_DELAYS",
        "30s,2m,10m,1h",
        _delays,
        "delays before attempt 2, 3, ... of a task that names none; the last repeats",
    )
    retention: float | None = _setting(
        "WORKER_RETENTION",
        "",
        _optional(_duration("d", 1)),
        "e.g. 7d: completed and cancelled rows older than this are deleted, failed never (default: keep all)",
    )

    http_timeout: float = _setting(
        "HTTP_TIMEOUT",
        "30",
        _duration("s", 0.1, _CENTURY),
        "seconds, total for one callback",
        group="HTTP callbacks",
    )
    http_result_bytes: int = _setting(
        "HTTP_RESULT_BYTES",
        "4096",
        _whole(0, 1_048_576),
        "how much of an answer's body `result` keeps; 0 = none",
    )
    http_ca_file: str | None = _setting(
        "HTTP_CA_FILE",
        "",
        _optional(_certificates),
        "PEM file of the authorities to trust instead of the built-in ones",
    )
    http_proxy_url: str | None = _setting(
        "HTTP_PROXY_URL",
        "",
        _optional(_url("http", "https")),
        "proxy for all callbacks; the environment's proxy and netrc settings are ignored",
        secret=True,
    )

    rabbitmq_url: str = _setting(
        "RABBITMQ_URL",
        "amqp://guest:guest@localhost:5672/%2F",
        _url("amqp", "amqps"),
        "the broker; amqps:// for TLS",
        secret=True,
        group="RabbitMQ",
    )
    rabbitmq_timeout: float = _setting(
        "RABBITMQ_TIMEOUT", "30", _duration("s", 0.1, _CENTURY), "seconds, total for one message"
    )

    smtp_host: str = _setting("SMTP_HOST", "localhost", _text, "the mail server", group="E-mail")
    smtp_port: int = _setting("SMTP_PORT", "587", _whole(1, 65535), "its port")
    smtp_tls: Literal["none", "starttls", "tls"] = _setting(
        "SMTP_TLS",
        "",
        _one_of("none", "starttls", "tls"),
        "none, starttls or tls (default: tls on port 465, else starttls)",
    )
    smtp_user: str | None = _setting(
        "SMTP_USER", "", _optional(_text), "user name, where the server wants one"
    )
    smtp_password: str | None = _setting("SMTP_PASSWORD", "", _optional(_text), "its password", secret=True)
    smtp_from: str = _setting(
        "SMTP_FROM", "", _sender, "sender of mails that name none (default: at-worker@ host name)"
    )
    smtp_ca_file: str | None = _setting(
        "SMTP_CA_FILE",
        "",
        _optional(_certificates),
        "PEM file of the authorities to trust instead of the system's",
    )
    smtp_timeout: float = _setting(
        "SMTP_TIMEOUT", "60", _duration("s", 0.1, _CENTURY), "seconds, total for one mail"
    )

    metrics_port: int = _setting(
        "METRICS_PORT",
        "0",
        _whole(0, 65535),
        "port of /healthz and /readyz; 0 = off",
        group="Probes and logs",
    )
    metrics_host: str = _setting("METRICS_HOST", "127.0.0.1", _text, "address that they listen on")
    log_level: str = _setting(
        "LOG_LEVEL", "INFO", _one_of("DEBUG", "INFO", "WARNING", "ERROR"), "DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["text", "json"] = _setting(
        "LOG_FORMAT", "text", _one_of("text", "json"), "text or json"
    )

    given: frozenset[str] = frozenset()

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between two heartbeats: five fit into the stuck timeout."""
        return min(self.stuck_timeout / 5, 10.0)


def variables() -> tuple[Variable, ...]:
    """Every variable, in the order of the documentation."""
    return tuple(v for v in map(_variable, fields(Settings)) if v is not None)


def load(environ: Mapping[str, str] = os.environ, dotenv_files: tuple[Path, ...] = DOTENV_FILES) -> Settings:
    """Read the settings from the environment, else from the first dotenv file there is.

    A secret `NAME` may come from the file that `NAME_FILE` names. Raises ConfigError with all problems.
    """
    sources = _sources(environ, dotenv_files)
    values: dict[str, Any] = {}
    problems: list[str] = []
    given: set[str] = set()
    for setting in fields(Settings):
        variable = _variable(setting)
        if variable is None:
            continue
        try:
            text = _given(variable, sources)
            if text:
                given.add(variable.name)
            text = text or variable.default or _derived(variable.name, values)
            values[setting.name] = variable.parse(text)
        except ValueError as error:
            problems.append(f"{variable.name}: {'its value ' if variable.secret else ''}{error}")
    problems += _conflicts(values)
    if problems:
        raise ConfigError(problems)
    return Settings(**values, given=frozenset(given))


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
    if values.get("smtp_tls") == "none" and values.get("smtp_user") and not _is_loopback(host):
        return [f"SMTP_TLS: none would send the password of SMTP_USER in clear text to {host}"]
    return []


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _variable(setting: Field[Any]) -> Variable | None:
    variable: Variable | None = setting.metadata.get("variable")
    return variable


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
