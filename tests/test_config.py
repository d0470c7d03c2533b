import base64
import ipaddress
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from at_worker.config import (
    Allowances,
    ConfigError,
    Secret,
    Settings,
    load,
    secret_values,
    unknown,
    variables,
)
from at_worker.config.secrets import hosts

SECRETS = {
    "DB_PASSWORD": "db_password",
    "DATABASE_URL": "database_url",
    "LISTEN_DSN": "listen_dsn",
    "HTTP_PROXY_URL": "http_proxy_url",
    "WEBHOOK_SECRET": "webhook_secret",
    "RABBITMQ_URL": "rabbitmq_url",
    "SMTP_PASSWORD": "smtp_password",
}
SECRET_VALUES = {
    "DB_PASSWORD": "hunter2",
    "DATABASE_URL": "postgresql://at:hunter2@db/app",
    "LISTEN_DSN": "postgresql://at:hunter2@db/app",
    "HTTP_PROXY_URL": "http://at:hunter2@proxy:3128",
    "WEBHOOK_SECRET": f"whsec_{'hunter2' * 8}",
    "RABBITMQ_URL": "amqps://at:hunter2@broker/%2F",
    "SMTP_PASSWORD": "hunter2",
}

ALLOWED_HOSTS = Allowances(hosts=frozenset({"hooks.example", "db-1", "b_2"}))
ALLOWED_SUFFIXES = Allowances(suffixes=(".corp.example", ".svc"))
ALLOWED_NETWORKS = Allowances(
    networks=tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "::1/128", "192.168.0.7/32")))
)


def problems(**variables: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(variables, ())
    return caught.value.problems


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("db_host", "localhost"),
        ("db_port", 5432),
        ("db_user", "postgres"),
        ("db_password", "postgres"),
        ("db_name", "at_scheduler"),
        ("db_sslmode", "disable"),
        ("database_url", None),
        ("worker_id", socket.gethostname()),
        ("polling_interval", 5),
        ("batch_size", 10),
        ("concurrency", 32),
        ("cleaner_interval", 300),
        ("stuck_timeout", 300),
        ("task_timeout", 300),
        ("task_types", None),
        ("shutdown_timeout", 25),
        ("retry_delays", (30, 120, 600, 3600)),
        ("retention", None),
        ("http_timeout", 30),
        ("http_result_bytes", 4096),
        ("http_guard", "metadata"),
        ("http_allow", Allowances()),
        ("http_ca_file", None),
        ("http_proxy_url", None),
        ("webhook_secret", None),
        ("rabbitmq_url", "amqp://guest:guest@localhost:5672/%2F"),
        ("rabbitmq_timeout", 30),
        ("smtp_host", "localhost"),
        ("smtp_port", 587),
        ("smtp_tls", "starttls"),
        ("smtp_user", None),
        ("smtp_password", None),
        ("smtp_from", f"at-worker@{socket.gethostname()}"),
        ("smtp_ca_file", None),
        ("smtp_timeout", 60),
        ("metrics_port", 0),
        ("metrics_host", "127.0.0.1"),
        ("log_level", "INFO"),
        ("log_format", "text"),
    ],
)
def test_a_setting_that_nobody_gave_has_its_default(field: str, default: Any) -> None:  # noqa: ANN401 - of any type
    assert getattr(load({}, ()), field) == default


def test_every_setting_has_a_variable_with_a_meaning() -> None:
    others = {"secrets", "telemetry", "given"}  # whose variables have any name, and which were given
    assert len(variables()) == len(Settings.__slots__) - len(others)
    assert all(variable.meaning for variable in variables())


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("DB_PORT", "65535", "db_port", 65535),
        ("DB_SSLMODE", "VERIFY-FULL", "db_sslmode", "verify-full"),
        ("DATABASE_URL", "postgres://db/app", "database_url", "postgres://db/app"),
        ("WORKER_ID", "w-1", "worker_id", "w-1"),
        ("WORKER_POLLING_INTERVAL", "0.25", "polling_interval", 0.25),
        ("WORKER_POLLING_INTERVAL", "30s", "polling_interval", 30),
        ("WORKER_BATCH_SIZE", "1", "batch_size", 1),
        ("WORKER_CONCURRENCY", "1000", "concurrency", 1000),
        ("WORKER_CLEANER_INTERVAL", "0.5", "cleaner_interval", 30),
        ("WORKER_CLEANER_INTERVAL", "10s", "cleaner_interval", 10),
        ("WORKER_STUCK_TIMEOUT", "2", "stuck_timeout", 120),
        ("WORKER_STUCK_TIMEOUT", "5s", "stuck_timeout", 5),
        ("WORKER_TASK_TIMEOUT", "10m", "task_timeout", 600),
        ("WORKER_TASK_TYPES", " email, , thumbnail ", "task_types", ("email", "thumbnail")),
        ("WORKER_SHUTDOWN_TIMEOUT", "0", "shutdown_timeout", 0),
        ("WORKER_RETRY_DELAYS", "5, 1m ,2h", "retry_delays", (5, 60, 7200)),
        ("WORKER_RETENTION", "7", "retention", 604_800),
        ("WORKER_RETENTION", "12h", "retention", 43_200),
        ("HTTP_TIMEOUT", "1.5", "http_timeout", 1.5),
        ("HTTP_RESULT_BYTES", "0", "http_result_bytes", 0),
        ("HTTP_GUARD", "Public", "http_guard", "public"),
        ("HTTP_ALLOW", "Hooks.Example. , ,db-1\tb_2", "http_allow", ALLOWED_HOSTS),
        ("HTTP_ALLOW", "*.Corp.example *.svc", "http_allow", ALLOWED_SUFFIXES),
        ("HTTP_ALLOW", "10.0.0.0/8, ::1 192.168.0.7", "http_allow", ALLOWED_NETWORKS),
        ("HTTP_PROXY_URL", "http://proxy:3128", "http_proxy_url", "http://proxy:3128"),
        ("RABBITMQ_URL", "amqps://broker/app", "rabbitmq_url", "amqps://broker/app"),
        ("SMTP_TLS", "None", "smtp_tls", "none"),
        ("SMTP_FROM", "At Work <at@example.org>", "smtp_from", "At Work <at@example.org>"),
        ("METRICS_PORT", "9464", "metrics_port", 9464),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("LOG_FORMAT", "JSON", "log_format", "json"),
    ],
)
def test_a_value_is_read(variable: str, text: str, field: str, value: Any) -> None:  # noqa: ANN401 - of any type
    assert getattr(load({variable: f" {text} "}, ()), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        ("DB_PORT", "0", "'0' is not a whole number from 1 to 65535"),
        ("DB_PORT", "5432.0", "'5432.0' is not a whole number from 1 to 65535"),
        ("DB_SSLMODE", "on", "'on' is none of disable, allow, prefer, require, verify-ca, verify-full"),
        ("WORKER_POLLING_INTERVAL", "31", "'31' is longer than 30 s"),
        ("WORKER_POLLING_INTERVAL", "0", "'0' is shorter than 0.01 s"),
        ("WORKER_POLLING_INTERVAL", "fast", "'fast' is not a duration; write 30s, 5m, 2h or 7d"),
        ("WORKER_BATCH_SIZE", "0", "'0' is not a whole number from 1 to 10000"),
        ("WORKER_CONCURRENCY", "1001", "'1001' is not a whole number from 1 to 1000"),
        ("WORKER_CLEANER_INTERVAL", "0", "'0' is shorter than 1 s"),
        ("WORKER_STUCK_TIMEOUT", "4s", "'4s' is shorter than 5 s"),
        ("WORKER_STUCK_TIMEOUT", "9" * 400, "is longer than"),
        ("WORKER_SHUTDOWN_TIMEOUT", "40000d", "is longer than"),
        ("WORKER_TASK_TIMEOUT", "-1", "is not a duration"),
        ("WORKER_TASK_TYPES", ",", "holds nothing but commas"),
        ("WORKER_RETRY_DELAYS", " , ", "holds nothing but commas"),
        ("WORKER_RETRY_DELAYS", "30s,later", "'later' is not a duration"),
        ("WORKER_RETRY_DELAYS", "30s,99999999d", "is longer than"),
        ("WORKER_RETENTION", "0", "'0' is shorter than 1 s"),
        ("HTTP_TIMEOUT", "0", "'0' is shorter than 0.1 s"),
        ("HTTP_RESULT_BYTES", "-1", "'-1' is not a whole number from 0 to 1048576"),
        ("HTTP_GUARD", "on", "'on' is none of metadata, public, off"),
        ("HTTP_ALLOW", "a.example, 10.0.0.1/8", "'10.0.0.1/8' is no network; is 10.0.0.0/8 meant?"),
        (
            "HTTP_ALLOW",
            "10.0.0.0/33",
            "'10.0.0.0/33' is neither a host name (in ASCII, xn--...) nor an address",
        ),
        ("HTTP_ALLOW", "256.1.1.1", "'256.1.1.1' is neither a host name"),
        ("HTTP_ALLOW", "2130706433", "'2130706433' is neither a host name"),
        ("HTTP_ALLOW", "a.0x7f", "'a.0x7f' is neither a host name"),
        (
            "HTTP_ALLOW",
            "m\u00fcnchen.example",
            "'m\u00fcnchen.example' is neither a host name (in ASCII, xn--...)",
        ),
        ("HTTP_ALLOW", "https://a.example/", "'https://a.example/' is neither a host name"),
        ("HTTP_ALLOW", "a.example:80", "'a.example:80' is neither a host name"),
        ("HTTP_ALLOW", "a.*.example", "'a.*.example' is neither a host name"),
        ("HTTP_ALLOW", "*", "'*' is neither a host name"),
        ("HTTP_ALLOW", "[::1]", "'[::1]' is neither a host name"),
        ("HTTP_CA_FILE", "/nowhere/ca.pem", "'/nowhere/ca.pem' holds no readable certificates (No such file"),
        ("HTTP_PROXY_URL", "proxy:3128", "is not a URL of the form http://host:port or https://host:port"),
        ("HTTP_PROXY_URL", "http://proxy:99999", "is not a URL of the form http://host:port"),
        ("RABBITMQ_URL", "http://broker", "is not a URL of the form amqp://host:port or amqps://host:port"),
        ("RABBITMQ_URL", "amqp://broker:rabbit/", "is not a URL of the form"),
        ("DATABASE_URL", "mysql://db/app", "is not a URL that begins with postgresql:// or postgres://"),
        ("DATABASE_URL", "host=db dbname=app", "is not a URL that begins with postgresql://"),
        ("SMTP_PORT", "smtp", "'smtp' is not a whole number from 1 to 65535"),
        ("SMTP_TLS", "ssl", "'ssl' is none of none, starttls, tls"),
        ("SMTP_FROM", "nobody", "'nobody' is not an e-mail address"),
        ("SMTP_FROM", "a@b\nBcc: c@d", "is not an e-mail address"),
        ("METRICS_PORT", "70000", "'70000' is not a whole number from 0 to 65535"),
        ("LOG_LEVEL", "loud", "'loud' is none of DEBUG, INFO, WARNING, ERROR"),
        ("LOG_FORMAT", "xml", "'xml' is none of text, json"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(variable: str, text: str, problem: str) -> None:
    (told,) = problems(**{variable: text})
    assert told.startswith(f"{variable}: ")
    assert problem in told


def test_all_problems_come_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"DB_PORT": "x", "SMTP_TLS": "x", "WORKER_BATCH_SIZE": "x", "WORKER_ID": "w-1"}, ())
    lines = str(caught.value).splitlines()
    assert lines[0] == "cannot start, these settings are wrong:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["DB_PORT", "WORKER_BATCH_SIZE", "SMTP_TLS"]


@pytest.mark.parametrize("variable", [variable.name for variable in variables()])
@pytest.mark.parametrize("blank", ["", "   ", "\t"])
def test_a_blank_value_counts_as_none(variable: str, blank: str) -> None:
    assert load({variable: blank}, ()) == load({}, ())


def test_the_database_url_may_name_several_hosts() -> None:
    url = "postgresql://at:pw@a:5432,b:5433/app?target_session_attrs=read-write"
    assert load({"DATABASE_URL": url}, ()).database_url == url


@pytest.mark.parametrize(
    "url", ["postgresql:///app", "postgresql:///app?host=/run/postgresql", "postgresql://[::1],[::2]/app"]
)
def test_the_database_url_may_be_whatever_libpq_reads(url: str) -> None:
    assert load({"DATABASE_URL": url}, ()).database_url == url


def test_certificates_are_read_at_the_start(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    assert load({"SMTP_CA_FILE": str(tmp_path / "ca.pem")}, ()).smtp_ca_file == str(tmp_path / "ca.pem")
    (tmp_path / "empty.pem").touch()
    (told,) = problems(SMTP_CA_FILE=str(tmp_path / "empty.pem"))
    assert "holds no readable certificates" in told


@pytest.mark.parametrize(("port", "tls"), [("465", "tls"), ("587", "starttls"), ("25", "starttls")])
def test_the_port_465_means_tls_from_the_first_byte(port: str, tls: str) -> None:
    assert load({"SMTP_PORT": port}, ()).smtp_tls == tls


def test_what_is_said_about_tls_wins_over_the_port() -> None:
    assert load({"SMTP_PORT": "465", "SMTP_TLS": "starttls"}, ()).smtp_tls == "starttls"


def test_a_password_never_travels_in_clear_text() -> None:
    told = problems(SMTP_TLS="none", SMTP_USER="at", SMTP_PASSWORD="hunter2", SMTP_HOST="mx.example.org")
    assert told == [
        "SMTP_TLS: none would send the password of SMTP_USER in clear text to mx.example.org",
    ]


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1"])
def test_a_password_may_travel_in_clear_text_within_the_machine(host: str) -> None:
    assert load({"SMTP_TLS": "none", "SMTP_USER": "at", "SMTP_HOST": host}, ()).smtp_user == "at"


def test_clear_text_without_a_login_is_fine() -> None:
    assert load({"SMTP_TLS": "none", "SMTP_HOST": "mx.example.org"}, ()).smtp_tls == "none"


def test_the_given_variables_are_remembered() -> None:
    assert load({"SMTP_HOST": "localhost", "DB_HOST": ""}, ()).given == {"SMTP_HOST"}


@pytest.mark.parametrize(("stuck", "beat"), [("5s", 1), ("20s", 4), ("5", 10)])
def test_five_heartbeats_fit_into_the_stuck_timeout_and_none_is_rarer_than_ten_seconds(
    stuck: str, beat: float
) -> None:
    assert load({"WORKER_STUCK_TIMEOUT": stuck}, ()).heartbeat_interval == beat


class TestSources:
    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[Path, Path]:
        (tmp_path / "app").mkdir()
        return tmp_path / ".env", tmp_path / "app" / ".env"

    def test_the_environment_wins(self, files: tuple[Path, Path]) -> None:
        files[0].write_text("DB_HOST=here\nDB_NAME=app\n")
        settings = load({"DB_HOST": "environment"}, files)
        assert (settings.db_host, settings.db_name) == ("environment", "app")

    def test_the_file_in_the_current_directory_wins_over_the_one_in_app(
        self, files: tuple[Path, Path]
    ) -> None:
        files[0].write_text("DB_HOST=here\n")
        files[1].write_text("DB_HOST=there\nDB_NAME=there\n")
        settings = load({}, files)
        assert (settings.db_host, settings.db_name) == ("here", "at_scheduler")

    def test_the_file_in_app_serves_where_there_is_no_other(self, files: tuple[Path, Path]) -> None:
        files[1].write_text("DB_HOST=there\n")
        assert load({}, files).db_host == "there"

    def test_the_usual_places_are_the_current_directory_and_app(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".env").write_text("DB_HOST=here\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("DB_HOST", raising=False)
        assert load(os.environ).db_host == "here"

    def test_a_blank_variable_of_the_environment_leaves_the_file_its_say(
        self, files: tuple[Path, Path]
    ) -> None:
        files[0].write_text("DB_HOST=here\n")
        assert load({"DB_HOST": " "}, files).db_host == "here"

    def test_values_of_a_file_may_be_quoted_exported_commented_and_hold_dollars(
        self, files: tuple[Path, Path]
    ) -> None:
        files[0].write_text(
            "# database\nexport DB_HOST='here'\nDB_NAME=app # ours\nDB_PASSWORD=a$b${c}\nDB_USER\n"
        )
        settings = load({}, files)
        assert (settings.db_host, settings.db_name, settings.db_user) == ("here", "app", "postgres")
        assert settings.db_password == "a$b${c}"

    def test_a_file_that_is_no_text_is_said_so(self, files: tuple[Path, Path]) -> None:
        files[0].write_bytes(b"DB_HOST=\xff\xfe")
        with pytest.raises(ConfigError, match=r"\.env cannot be read"):
            load({}, files)


class TestSecrets:
    @pytest.mark.parametrize(("variable", "field"), SECRETS.items())
    def test_a_secret_may_come_from_a_file(self, variable: str, field: str, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(f"{SECRET_VALUES[variable]}\n")
        settings = load({f"{variable}_FILE": str(tmp_path / "secret")}, ())
        assert getattr(settings, field) == SECRET_VALUES[variable]
        assert variable in settings.given

    def test_these_are_all_the_secrets(self) -> None:
        assert {variable.name for variable in variables() if variable.secret} == set(SECRETS)

    def test_blanks_belong_to_a_secret_and_the_end_of_its_line_does_not(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b" a b \r\n")
        assert load({"DB_PASSWORD_FILE": str(tmp_path / "secret")}, ()).db_password == " a b "

    def test_the_variable_itself_wins_over_its_file(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("file")
        environ = {"DB_PASSWORD": "variable", "DB_PASSWORD_FILE": str(tmp_path / "secret")}
        assert load(environ, ()).db_password == "variable"

    def test_a_file_that_the_environment_names_wins_over_a_dotenv_file(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("file")
        (tmp_path / ".env").write_text("DB_PASSWORD=dotenv")
        environ = {"DB_PASSWORD_FILE": str(tmp_path / "secret")}
        assert load(environ, (tmp_path / ".env",)).db_password == "file"

    def test_a_dotenv_file_may_name_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("file")
        (tmp_path / ".env").write_text(f"DB_PASSWORD_FILE={tmp_path / 'secret'}")
        assert load({}, (tmp_path / ".env",)).db_password == "file"

    @pytest.mark.parametrize("blank", ["", " "])
    def test_a_blank_file_name_counts_as_none(self, blank: str) -> None:
        assert load({"DB_PASSWORD_FILE": blank}, ()).db_password == "postgres"

    def test_a_file_that_is_missing_is_named(self) -> None:
        (told,) = problems(DB_PASSWORD_FILE="/nowhere/secret")
        assert told == (
            "DB_PASSWORD: its value cannot be read from DB_PASSWORD_FILE (/nowhere/secret): "
            "No such file or directory"
        )

    @pytest.mark.parametrize(
        "secret",
        [
            "hunter2",
            "whsec_hunter2",
            f"whsec_{base64.b64encode(b'hunter2' * 3).decode()}",
            f"whsec_{base64.b64encode(b'hunter2' * 10).decode()}",
            f"{'hunter2' * 8}",
            f"whsec_{'hunter2' * 8} hunter2",
            f"whsec_{'hunter2' * 8},whsec_{'hunter2' * 8}",
        ],
    )
    def test_what_is_no_signing_secret_is_said_so_and_not_shown(self, secret: str) -> None:
        (told,) = problems(WEBHOOK_SECRET=secret)
        assert told == (
            "WEBHOOK_SECRET: its value is not whsec_ and 24 to 64 bytes in base64, or several of these with "
            "blanks between"
        )

    def test_a_file_that_is_no_text_shows_nothing_of_itself(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"hunter2\xff")
        (told,) = problems(DB_PASSWORD_FILE=str(tmp_path / "secret"))
        assert "it is not UTF-8" in told
        assert "hunter2" not in told

    def test_what_is_no_secret_comes_from_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "host").write_text("elsewhere")
        assert load({"DB_HOST_FILE": str(tmp_path / "host")}, ()).db_host == "localhost"

    def test_no_secret_shows_in_the_text_of_the_settings(self) -> None:
        assert "hunter2" not in repr(load(SECRET_VALUES, ()))

    @pytest.mark.parametrize("variable", [name for name in SECRETS if name.endswith("_URL")])
    @pytest.mark.parametrize("url", ["ftp://at:hunter2@x/y", "amqp://at:hunter2@[::1", "hunter2"])
    def test_no_secret_shows_in_a_problem(self, variable: str, url: str) -> None:
        (told,) = problems(**{variable: url})
        assert told.startswith(f"{variable}: its value is not a URL")
        assert "hunter2" not in told


class TestSecretsThatPayloadsName:
    def test_a_secret_comes_with_the_hosts_that_may_receive_it(self) -> None:
        settings = load(
            {
                "AT_SECRET_SHOP_2": " hunter22 ",
                "AT_SECRET_SHOP_2_HOSTS": "api.Example.org., *.example.COM,[::1]",
            },
            (),
        )
        assert settings.secrets == {"SHOP_2": Secret("hunter22", ("api.example.org", "*.example.com", "::1"))}

    def test_it_may_come_from_a_file_and_a_dotenv_file(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("hunter22\r\n")
        (tmp_path / ".env").write_text("AT_SECRET_A_HOSTS=localhost\nAT_SECRET_B=hunter23\n")
        settings = load({"AT_SECRET_A_FILE": str(tmp_path / "secret")}, (tmp_path / ".env",))
        assert settings.secrets == {"A": Secret("hunter22", ("localhost",)), "B": Secret("hunter23")}

    def test_blank_variables_count_as_none(self) -> None:
        assert load({"AT_SECRET_A": " ", "AT_SECRET_A_FILE": "", "AT_SECRET_A_HOSTS": " "}, ()).secrets == {}

    @pytest.mark.parametrize(
        ("variables", "problem"),
        [
            ({"AT_SECRET_A": "hunter2"}, "AT_SECRET_A: its value is shorter than 8 characters"),
            ({"AT_SECRET_A": "hunter2\n2"}, "AT_SECRET_A: its value holds a control character"),
            ({"AT_SECRET_A": "hunter2\x852"}, "AT_SECRET_A: its value holds a control character"),
            ({"AT_SECRET_A": "hunter2\udc80"}, "AT_SECRET_A: its value holds a control character"),
            ({"AT_SECRET_a": "hunter22"}, "AT_SECRET_a: the name of a secret has A-Z, 0-9 and _ alone"),
            ({"AT_SECRET_": "hunter22"}, "AT_SECRET_: the name of a secret has A-Z, 0-9 and _ alone"),
            ({"AT_SECRET_A_HOSTS": "x"}, "AT_SECRET_A: is not set, and AT_SECRET_A_HOSTS is"),
            (
                {"AT_SECRET_A_FILE": "/nowhere/secret"},
                (
                    "AT_SECRET_A: its value cannot be read from AT_SECRET_A_FILE (/nowhere/secret): "
                    "No such file or directory"
                ),
            ),
        ],
    )
    def test_what_cannot_be_used_is_named_and_not_shown(
        self, variables: dict[str, str], problem: str
    ) -> None:
        assert problems(**variables) == [problem]

    @pytest.mark.parametrize("host", ["https://x", "x:80", "*", "a.*.b", "ü.org", "a b", "x/y", "1::2::3"])
    def test_what_is_no_host_is_said_so(self, host: str) -> None:
        (told,) = problems(AT_SECRET_A="hunter22", AT_SECRET_A_HOSTS=f"x,{host}")
        assert told.startswith(f"AT_SECRET_A_HOSTS: {host!r} is not a host name")

    @pytest.mark.parametrize(
        ("bound", "host", "allowed"),
        [
            ("example.org", "example.org", True),
            ("example.org", "example.org.", True),
            ("example.org", "www.example.org", False),
            ("example.org", "example.org.evil.example", False),
            ("*.example.org", "www.example.org", True),
            ("*.example.org", "a.b.example.org", True),
            ("*.example.org", "example.org", False),
            ("*.example.org", "evilexample.org", False),
            ("::1", "::1", True),
            ("127.0.0.1", "127.0.0.2", False),
        ],
    )
    def test_it_is_for_its_hosts_alone(self, bound: str, host: str, *, allowed: bool) -> None:
        assert Secret("hunter22", hosts(bound)).is_for(host) is allowed

    def test_without_hosts_it_is_for_nobody(self) -> None:
        assert not Secret("hunter22").is_for("localhost")

    def test_it_shows_in_no_text_of_the_settings(self) -> None:
        settings = load({"AT_SECRET_A": "hunter22", "AT_SECRET_A_HOSTS": "x"}, ())
        assert "hunter22" not in repr(settings) + repr(settings.secrets)


class TestSecretValues:
    def test_every_secret_is_known_in_the_form_in_which_it_is_used(self) -> None:
        settings = load(
            {
                "DB_PASSWORD": "pw-of-the-database",
                "DATABASE_URL": "postgresql://at:pw%2Furl@a:1,b:2/app?sslpassword=pw-key&sslmode=verify-full",
                "RABBITMQ_URL": "amqps://at:pw-broker@broker/",
                "SMTP_PASSWORD": "pw-mail",
                "HTTP_PROXY_URL": "http://at:pw-proxy@proxy",
                "WEBHOOK_SECRET": f"whsec_{'A' * 32} whsec_{'B' * 32}",
                "AT_SECRET_A": "Bearer 0123456789abcdef",
                "OTEL_EXPORTER_OTLP_HEADERS": "api-key=pw%20key, x-scope=Basic%20MTIzNDU2Nzg5MDEy",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://at:pw-collector@collector:4318",
            },
            (),
        )
        assert secret_values(settings) == {
            "pw-of-the-database",
            "pw%2Furl",
            "pw/url",
            "pw-key",
            "pw-broker",
            "pw-mail",
            "pw-proxy",
            f"whsec_{'A' * 32} whsec_{'B' * 32}",
            "A" * 32,
            "B" * 32,
            "Bearer 0123456789abcdef",
            "0123456789abcdef",
            "pw%20key",
            "pw key",
            "Basic%20MTIzNDU2Nzg5MDEy",
            "Basic MTIzNDU2Nzg5MDEy",
            "MTIzNDU2Nzg5MDEy",
            "pw-collector",
        }

    def test_defaults_are_no_secrets(self) -> None:
        given = {"DATABASE_URL": "postgresql://postgres:postgres@db/app", "LISTEN_DSN": "off"}
        assert secret_values(load(given, ())) <= {"guest", "off"}


class TestTelemetry:
    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ({}, False),
            ({"OTEL_SERVICE_NAME": "shop"}, False),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
            ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
            ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
            ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ],
    )
    def test_traces_are_wanted_where_somebody_names_where_they_go(
        self, given: dict[str, str], wanted: bool
    ) -> None:
        assert load(given, ()).telemetry.wanted is wanted

    @pytest.mark.parametrize(
        ("given", "obstacle"),
        [
            ({}, None),
            ({"OTEL_TRACES_EXPORTER": "otlp,console"}, None),
            ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, None),
            (
                {
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                },
                None,
            ),
            ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
            ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER=console"),
        ],
    )
    def test_what_cannot_be_had_is_named(self, given: dict[str, str], obstacle: str | None) -> None:
        assert (load(given, ()).telemetry.obstacle or "None").startswith(obstacle or "None")

    def test_the_environment_wins_over_the_dotenv_file(self, tmp_path: Path) -> None:
        path = tmp_path / ".env"
        path.write_text("OTEL_SERVICE_NAME=a\nOTEL_TRACES_SAMPLER=always_off\n")
        assert load({"OTEL_SERVICE_NAME": "b"}, (path,)).telemetry.variables == {
            "OTEL_SERVICE_NAME": "b",
            "OTEL_TRACES_SAMPLER": "always_off",
        }

    def test_headers_that_cannot_be_read_are_a_problem_as_any_secret_is(self, tmp_path: Path) -> None:
        missing = str(tmp_path / "nothing")
        with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_HEADERS: its value cannot be read from"):
            load({"OTEL_EXPORTER_OTLP_HEADERS_FILE": missing}, ())


class TestUnknown:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("WORKER_BATCHSIZE", "WORKER_BATCH_SIZE"),
            ("WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
            ("WORKER_TASK_TYPE", "WORKER_TASK_TYPES"),
            ("WORKER_XYZZY_PLUGH_FROTZ", None),
        ],
    )
    def test_a_typing_error_is_told_with_the_nearest_name(self, name: str, nearest: str | None) -> None:
        assert unknown({name: "1"}, ()) == {name: nearest}

    @pytest.mark.parametrize(
        "environ",
        [
            {variable.name: "x" for variable in variables()},
            {f"{name}_FILE": "x" for name in SECRETS},
            {"PATH": "/bin", "HTTP_PROXY": "x", "DB_DATA_DIR": "x", "SMTP_SERVER": "x"},
            {
                "WORKER_SERVICE_HOST": "10.0.0.1",
                "WORKER_SERVICE_PORT": "80",
                "WORKER_SERVICE_PORT_HTTP": "80",
                "WORKER_PORT": "tcp://10.0.0.1:80",
                "WORKER_PORT_80_TCP_ADDR": "10.0.0.1",
            },
        ],
        ids=["settings", "files of secrets", "of others", "of orchestrators"],
    )
    def test_nothing_is_told_about_the_rest(self, environ: Mapping[str, str]) -> None:
        assert unknown(environ, ()) == {}

    def test_typing_errors_in_a_dotenv_file_are_found_too(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("WORKER_IDD=w-1\n")
        assert unknown({}, (tmp_path / ".env",)) == {"WORKER_IDD": "WORKER_ID"}
