"""Mails whose payload names a template, as they arrive."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from at_worker import Done, InvalidPayload, jsontext
from at_worker.config import ConfigError, load
from at_worker.executors.email import Email
from at_worker.jsontext import Json
from at_worker.plugin import MissingSetting
from tests.executors.email.mails import attempt
from tests.servers.smtp import Received, SmtpServer, smtp_server


@pytest.fixture(scope="module")
def server() -> Iterator[SmtpServer]:
    with smtp_server() as running:
        yield running


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "templates"
    place.mkdir()
    for name, text in {
        "order.subject.txt": "Order {{ order.id }} of {{ name }}\n",
        "order.txt": "Hello {{ name }},\nit costs {{ order.total }}.\n",
        "order.html": "{% extends 'base.html' %}"
        "{% block main %}<b>{{ name }}</b>: {{ order.total }}{% endblock %}",
        "base.html": "<html>{% block main %}{% endblock %}</html>",
    }.items():
        (place / name).write_text(text, encoding="utf-8")
    return place


@pytest.fixture
def email(server: SmtpServer, directory: Path) -> Iterator[Email]:
    variables = {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(server.port),
        "SMTP_TLS": "none",
        "SMTP_FROM": "worker@example.org",
        "SMTP_TEMPLATES": str(directory),
    }
    sender = Email(load(variables, ()))
    yield sender
    sender.close()


def payload(name: str = "Jürgen & Söhne", /, **members: Json) -> dict[str, Json]:
    data: Json = {"name": name, "order": {"id": 42, "total": jsontext.parse("19.90")}}
    return {"to": "ann@example.org", "template": "order", "template_data": data, **members}


def received(server: SmtpServer, email: Email, payload: Json) -> Received:
    server.mails.clear()
    assert isinstance(email.execute(email.parse(payload), attempt()), Done)
    (mail,) = server.mails
    return mail


def parts(mail: Received) -> dict[str, str]:
    bodies = [part for kind in ("plain", "html") if (part := mail.message.get_body((kind,))) is not None]
    return {part.get_content_type(): part.get_content().replace("\r\n", "\n") for part in bodies}


def test_a_template_arrives_as_subject_text_and_html(server: SmtpServer, email: Email) -> None:
    mail = received(server, email, payload())
    assert mail.message["Subject"] == "Order 42 of Jürgen & Söhne"
    assert parts(mail) == {
        "text/plain": "Hello Jürgen & Söhne,\nit costs 19.90.\n",
        "text/html": "<html><b>Jürgen &amp; Söhne</b>: 19.90</html>\n",
    }


def test_everything_else_of_a_payload_stays_usable(server: SmtpServer, email: Email) -> None:
    mail = received(
        server,
        email,
        payload(
            cc="cc@example.org",
            bcc="bcc@example.org",
            reply_to="help@example.org",
            headers={"X-Shop": "north"},
            attachments=[{"filename": "a.csv", "content_base64": "YQ=="}],
            **{"from": "Shop <shop@example.org>"},
        ),
    )
    assert mail.sender == "shop@example.org"
    assert mail.recipients == ("ann@example.org", "cc@example.org", "bcc@example.org")
    assert (mail.message["Reply-To"], mail.message["X-Shop"]) == ("help@example.org", "north")
    assert [part.get_filename() for part in mail.message.iter_attachments()] == ["a.csv"]
    assert parts(mail)["text/html"].startswith("<html>")


def test_a_template_without_html_makes_a_mail_of_text(
    server: SmtpServer, email: Email, directory: Path
) -> None:
    (directory / "order.html").unlink()
    assert received(server, email, payload()).message.get_content_type() == "text/plain"


def test_a_template_without_variables_needs_no_data(
    server: SmtpServer, email: Email, directory: Path
) -> None:
    for name in ("ping.subject.txt", "ping.txt"):
        (directory / name).write_text("ping")
    for members in ({}, {"template_data": None}):
        mail = received(
            server, email, {"to": "ann@example.org", "template": "ping", "subject": None, **members}
        )
        assert mail.message["Subject"] == "ping"


def test_values_are_text_in_html_and_never_tags(server: SmtpServer, email: Email) -> None:
    mail = received(server, email, payload("<script>{{ 7 * 7 }}</script>"))
    assert "<b>&lt;script&gt;{{ 7 * 7 }}&lt;/script&gt;</b>" in parts(mail)["text/html"]
    assert "Hello <script>{{ 7 * 7 }}</script>," in parts(mail)["text/plain"]


@pytest.mark.parametrize(
    "name",
    [
        "x\nBcc: eve@example.org",
        "x\r\n\r\nbody",
        "x\x00",
        "x\u2028y",
        "=?utf-8?q?x=0ABcc:_eve=40example.org?=",
        "=?utf-8?b?eA0KQmNjOiBldmVAZXhhbXBsZS5vcmc=?=",
    ],
)
def test_a_value_adds_no_header(name: str, email: Email) -> None:
    with pytest.raises(InvalidPayload, match=r"template: order\.subject\.txt holds the control character"):
        email.parse(payload(name))


def test_a_subject_of_several_lines_or_none_is_refused(email: Email, directory: Path) -> None:
    for text, why in (("a\n{# #}\nb", "holds the control character U\\+000A"), ("{# #}\n", "is empty")):
        (directory / "order.subject.txt").write_text(text)
        with pytest.raises(InvalidPayload, match=rf"^invalid payload: template: order\.subject\.txt {why}$"):
            email.parse(payload())


@pytest.mark.parametrize("part", ["order.txt", "order.html"])
def test_what_no_mail_can_hold_is_refused_in_every_part(part: str, email: Email, directory: Path) -> None:
    (directory / "order.subject.txt").write_text("subject")
    for other in ("order.txt", "order.html"):
        (directory / other).write_text("{{ name }}" if other == part else "text")
    for name, why in (("\x00", "holds the control character U\\+0000"), ("\ud800", "holds a lone surrogate")):
        with pytest.raises(InvalidPayload, match=f"template: {part} {why}"):
            email.parse(payload(name))


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"template": "nothing"}, "template: there is no nothing.subject.txt in SMTP_TEMPLATES"),
        ({"template": "../order"}, "template: is not a name of letters, "),
        (
            {"template_data": {"name": "x", "order": {"id": 1}}},
            "template_data.order.total: is missing (order.txt, line 2)",
        ),
        ({"subject": "mine"}, "subject: cannot stand beside template, which makes it"),
    ],
)
def test_what_cannot_be_made_is_a_permanent_failure_that_names_its_field(
    members: dict[str, Json], problem: str, email: Email
) -> None:
    with pytest.raises(InvalidPayload) as caught:
        email.parse(payload(**members))
    assert str(caught.value).startswith(f"invalid payload: {problem}")


def test_a_template_that_is_mended_works_without_a_restart(
    server: SmtpServer, email: Email, directory: Path
) -> None:
    (directory / "base.html").write_text("{% if %}")
    with pytest.raises(InvalidPayload, match=r"template: base\.html, line 1: Expected an expression"):
        email.parse(payload())
    (directory / "base.html").write_text("<div>{% block main %}{% endblock %}</div>")
    assert parts(received(server, email, payload()))["text/html"].startswith("<div>")


def test_a_directory_that_went_away_is_tried_again(email: Email, directory: Path) -> None:
    directory.rename(directory.with_name("moved"))
    with pytest.raises(MissingSetting, match=r"template: SMTP_TEMPLATES: .* cannot be read: No such file"):
        email.parse(payload())


def test_a_setting_that_is_no_directory_is_told_at_the_start(directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"SMTP_TEMPLATES: '.*order\.txt' is not a directory"):
        load({"SMTP_TEMPLATES": str(directory / "order.txt")}, ())


def test_a_worker_without_templates_does_without_jinja2() -> None:
    code = (
        "import sys; from at_worker import config; from at_worker.executors.registry import executors\n"
        "with executors(config.load({}, ())): sys.exit('jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
