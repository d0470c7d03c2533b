"""The settings: each is one field, which gives its variable, default, check and help text."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal

from at_worker.config import values
from at_worker.config.allowances import Allowances, allowances
from at_worker.config.secrets import Secret, hosts, secret_value
from at_worker.config.signing import signing_secrets
from at_worker.config.telemetry import Telemetry
from at_worker.config.values import Parse


@dataclass(frozen=True, slots=True)
class Variable:
    """How one setting is written; `default` is text, as a person would set it."""

    name: str
    default: str
    parse: Parse
    meaning: str
    secret: bool = False
    group: str = ""


def _setting(
    name: str, default: str, parse: Parse, meaning: str, *, secret: bool = False, group: str = ""
) -> Any:  # noqa: ANN401 - a dataclass field takes the type of its annotation
    return field(
        repr=not secret, metadata={"variable": Variable(name, default, parse, meaning, secret, group)}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of a worker; all lengths of time are seconds."""

    db_host: str = _setting("DB_HOST", "localhost", values.anything, "host of PostgreSQL", group="Database")
    db_port: int = _setting("DB_PORT", "5432", values.whole(1, 65535), "its port")
    db_user: str = _setting("DB_USER", "postgres", values.anything, "the role to connect as")
    db_password: str = _setting(
        "DB_PASSWORD",
        "postgres",
        values.anything,
        "its password",
        secret=True,
    )
    db_name: str = _setting("DB_NAME", "at_scheduler", values.anything, "name of the database")
    db_sslmode: str = _setting(
        "DB_SSLMODE",
        "disable",
        values.one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
        "TLS to the database, as libpq's sslmode",
    )
    database_url: str | None = _setting(
        "DATABASE_URL",
        "",
        values.optional(values.database_url),
        "wins over the DB_ variables; may name several hosts",
        secret=True,
    )
    listen_dsn: str | None = _setting(
        "LISTEN_DSN",
        "",
        values.optional(values.listen_dsn),
        "a direct connection for LISTEN behind a pooler; off: poll only (default: the database itself)",
        secret=True,
    )

    worker_id: str = _setting(
        "WORKER_ID", "", values.anything, "label in logs and `locked_by` (default: host name)", group="Worker"
    )
    polling_interval: float = _setting(
        "WORKER_POLLING_INTERVAL",
        "5",
        values.duration("s", 0.01, 30),
        "seconds between looks at the table; the safety net below wake-ups, at most 30",
    )
    batch_size: int = _setting(
        "WORKER_BATCH_SIZE", "10", values.whole(1, 10_000), "most tasks one claim takes"
    )
    concurrency: int = _setting(
        "WORKER_CONCURRENCY", "32", values.whole(1, 1000), "threads: tasks that run at once"
    )
    destination_concurrency: int | None = _setting(
        "WORKER_DESTINATION_CONCURRENCY",
        "",
        values.optional(values.whole(1, 1000)),
        "most tasks at once at one host, broker or mail server (default: all threads but a few)",
    )
    cleaner_interval: float = _setting(
        "WORKER_CLEANER_INTERVAL",
        "5",
        values.duration("m", 1),
        "minutes between two turns of the cleaner at most",
    )
    stuck_timeout: float = _setting(
        "WORKER_STUCK_TIMEOUT",
        "5",
        values.duration("m", 5),
        "minutes without a heartbeat until a task is given to another worker; at least 5s",
    )
    task_timeout: float = _setting(
        "WORKER_TASK_TIMEOUT",
        "300",
        values.duration("s", 0.1, values.CENTURY),
        "seconds; bound on one attempt",
    )
    task_types: tuple[str, ...] | None = _setting(
        "WORKER_TASK_TYPES",
        "",
        values.optional(values.names),
        "comma-separated: this worker touches only these (default: all)",
    )
    shutdown_timeout: float = _setting(
        "WORKER_SHUTDOWN_TIMEOUT",
        "25",
        values.duration("s", 0),
        "seconds of grace for running tasks after SIGTERM",
    )
    retry_delays: tuple[float, ...] = _setting(
        "WORKER_RETRY_DELAYS",
        "30s,2m,10m,1h",
        values.delays,
        "delays before attempt 2, 3, ... of a task that names none; the last repeats",
    )
    retention: float | None = _setting(
        "WORKER_RETENTION",
        "",
        values.optional(values.duration("d", 1)),
        "e.g. 7d: completed and cancelled rows older than this are deleted, failed never (default: keep all)",
    )

    http_timeout: float = _setting(
        "HTTP_TIMEOUT",
        "30",
        values.duration("s", 0.1, values.CENTURY),
        "seconds, total for one callback",
        group="HTTP callbacks",
    )
    http_result_bytes: int = _setting(
        "HTTP_RESULT_BYTES",
        "4096",
        values.whole(0, 1_048_576),
        "how much of an answer's body `result` keeps; 0 = none",
    )
    http_guard: Literal["metadata", "public", "off"] = _setting(
        "HTTP_GUARD",
        "metadata",
        values.one_of("metadata", "public", "off"),
        "what the guard refuses: metadata, public (set it where end users choose the URLs) or off",
    )
    http_allow: Allowances = _setting(  # noqa: RUF009 - it makes a field
        "HTTP_ALLOW",
        "",
        allowances,
        "host names, `*.domain` names and networks that the guard lets through, with commas or blanks",
    )
    http_ca_file: str | None = _setting(
        "HTTP_CA_FILE",
        "",
        values.optional(values.certificates),
        "PEM file of the authorities to trust instead of the built-in ones",
    )
    http_proxy_url: str | None = _setting(
        "HTTP_PROXY_URL",
        "",
        values.optional(values.url("http", "https")),
        "proxy for all callbacks; the environment's proxy and netrc settings are ignored",
        secret=True,
    )
    webhook_secret: str | None = _setting(
        "WEBHOOK_SECRET",
        "",
        values.optional(signing_secrets),
        "blank-separated `whsec_` secrets: every callback is signed with each (Standard Webhooks)",
        secret=True,
    )

    rabbitmq_url: str = _setting(
        "RABBITMQ_URL",
        "amqp://guest:guest@localhost:5672/%2F",
        values.url("amqp", "amqps"),
        "the broker; amqps:// for TLS",
        secret=True,
        group="RabbitMQ",
    )
    rabbitmq_timeout: float = _setting(
        "RABBITMQ_TIMEOUT", "30", values.duration("s", 0.1, values.CENTURY), "seconds, total for one message"
    )

    smtp_host: str = _setting("SMTP_HOST", "localhost", values.anything, "the mail server", group="E-mail")
    smtp_port: int = _setting("SMTP_PORT", "587", values.whole(1, 65535), "its port")
    smtp_tls: Literal["none", "starttls", "tls"] = _setting(
        "SMTP_TLS",
        "",
        values.one_of("none", "starttls", "tls"),
        "none, starttls or tls (default: tls on port 465, else starttls)",
    )
    smtp_user: str | None = _setting(
        "SMTP_USER", "", values.optional(values.anything), "user name, where the server wants one"
    )
    smtp_password: str | None = _setting(
        "SMTP_PASSWORD", "", values.optional(values.anything), "its password", secret=True
    )
    smtp_from: str = _setting(
        "SMTP_FROM", "", values.sender, "sender of mails that name none (default: at-worker@ host name)"
    )
    smtp_templates: str | None = _setting(
        "SMTP_TEMPLATES",
        "",
        values.optional(values.directory),
        "directory of the templates that mails may name (default: none)",
    )
    smtp_ca_file: str | None = _setting(
        "SMTP_CA_FILE",
        "",
        values.optional(values.certificates),
        "PEM file of the authorities to trust instead of the system's",
    )
    smtp_timeout: float = _setting(
        "SMTP_TIMEOUT", "60", values.duration("s", 0.1, values.CENTURY), "seconds, total for one mail"
    )

    metrics_port: int = _setting(
        "METRICS_PORT",
        "0",
        values.whole(0, 65535),
        "port of /metrics, /healthz and /readyz; 0 = off",
        group="Probes and logs",
    )
    metrics_host: str = _setting("METRICS_HOST", "127.0.0.1", values.anything, "address that they listen on")
    log_level: str = _setting(
        "LOG_LEVEL",
        "INFO",
        values.one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        "DEBUG, INFO, WARNING or ERROR",
    )
    log_format: Literal["text", "json"] = _setting(
        "LOG_FORMAT", "text", values.one_of("text", "json"), "text or json"
    )

    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    telemetry: Telemetry = field(default_factory=Telemetry)
    given: frozenset[str] = frozenset()

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between two heartbeats: five fit into the stuck timeout."""
        return min(self.stuck_timeout / 5, 10.0)

    @property
    def statement_deadline(self) -> float:
        """Seconds that the database has for one statement.

        A heartbeat that gets no answer is given up in time for another before the stuck timeout is over.
        """
        return min(self.stuck_timeout * 0.4, 30.0)


def variables() -> tuple[Variable, ...]:
    """Every variable, in the order of the documentation."""
    return tuple(v for v in map(variable_of, fields(Settings)) if v is not None)


def secret_variables(name: str) -> tuple[Variable, Variable]:
    """The two variables of the secret that payloads call `name`: its value and who may receive it."""
    return (
        Variable(
            f"AT_SECRET_{name}",
            "",
            values.optional(secret_value),
            f'what `{{"$secret": "{name}"}}` stands for in payloads; at least 8 characters',
            secret=True,
            group="Secrets that payloads name",
        ),
        Variable(
            f"AT_SECRET_{name}_HOSTS",
            "",
            values.optional(hosts),
            "comma-separated: the hosts that may receive it, `*.example.org` for all below (default: none)",
        ),
    )


def variable_of(setting: Field[Any]) -> Variable | None:
    """The variable of a field; None for what is no setting."""
    variable: Variable | None = setting.metadata.get("variable")
    return variable
