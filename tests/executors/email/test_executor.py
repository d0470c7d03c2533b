import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from at_worker import Done, Fail, Outcome, Retry, config
from at_worker.executors.email import Email
from at_worker.executors.email import pool as smtp_pool
from at_worker.jsontext import Json
from tests.executors.email.mails import LEAST, UID, attempt
from tests.servers import smtp_faults
from tests.servers.smtp import Tls, ca_file, smtp_server
from tests.servers.smtp_faults import Line, raw_server


@contextmanager
def executor(port: int, **variables: str) -> Iterator[Email]:
    given = {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port),
        "SMTP_TLS": "none",
        "SMTP_FROM": "Worker <worker@example.org>",
        "SMTP_TIMEOUT": "10",
        **variables,
    }
    email = Email(config.load(given, ()))
    try:
        yield email
    finally:
        email.close()


def sent(email: Email, previous: Json = None, seconds: float = 10, **members: Json) -> Outcome:
    return email.execute(email.parse({**LEAST, **members}), attempt(previous=previous, seconds=seconds))


def result(outcome: Outcome) -> dict[str, Json]:
    return cast("dict[str, Json]", outcome.result)


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry | Fail)
    return outcome.reason


def test_a_mail_arrives_with_its_parts_and_headers() -> None:
    with smtp_server() as server, executor(server.port) as email:
        outcome = sent(
            email,
            to="Jürgen <j@bücher.example>",
            cc=["cc@example.org"],
            bcc="hidden@example.org",
            subject="Größe 😀",
            body="Grüße\n.\n..x\nFrom me",
            html="<p>Grüße</p>",
            headers={"X-Kind": "invoice"},
            attachments=[{"filename": "naïve.csv", "content_base64": b64encode(b"a\r\nb\n").decode()}],
        )
    assert isinstance(outcome, Done)
    (mail,) = server.mails
    assert mail.sender == "worker@example.org"
    assert mail.recipients == ("j@xn--bcher-kva.example", "cc@example.org", "hidden@example.org")
    assert b"hidden" not in mail.raw
    message = mail.message
    assert message["From"] == "Worker <worker@example.org>"
    assert message["To"] == "Jürgen <j@xn--bcher-kva.example>"
    assert message["Cc"] == "cc@example.org"
    assert message["Bcc"] is None
    assert (message["Subject"], message["X-Kind"]) == ("Größe 😀", "invoice")
    assert message["Message-ID"] == f"<{UID}@example.org>"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content() == "Grüße\r\n.\r\n..x\r\nFrom me\r\n"
    assert html.get_content() == "<p>Grüße</p>\r\n"
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_payload(decode=True)) == ("naïve.csv", b"a\r\nb\n")


def test_the_result_tells_what_came_back() -> None:
    with smtp_server() as server, executor(server.port) as email:
        outcome = sent(email)
    assert isinstance(outcome, Done)
    assert isinstance(result(outcome).pop("ms"), int)
    assert outcome.result == {
        "reply": "250 2.0.0 queued",
        "accepted": ["ann@example.org"],
        "refused": {},
        "message_id": f"<{UID}@example.org>",
    }


def test_a_payload_may_name_its_sender() -> None:
    with smtp_server() as server, executor(server.port) as email:
        payload = email.parse({**LEAST, "from": "Shop <shop@example.net>"})
        assert isinstance(email.execute(payload, attempt()), Done)
    assert server.mails[0].sender == "shop@example.net"
    assert server.mails[0].message["From"] == "Shop <shop@example.net>"


def test_a_local_part_outside_ascii_goes_by_smtputf8() -> None:
    with smtp_server() as server, executor(server.port) as email:
        assert isinstance(sent(email, to=["jürgen@example.org", "b@example.org"]), Done)
    (mail,) = server.mails
    assert mail.recipients == ("jürgen@example.org", "b@example.org")
    assert "SMTPUTF8" in mail.options
    assert "To: jürgen@example.org,\r\n b@example.org\r\n".encode() in mail.raw


def test_a_server_without_smtputf8_fails_such_a_mail_and_no_other() -> None:
    with smtp_server(smtputf8=False) as server, executor(server.port) as email:
        outcome = sent(email, to="jürgen@example.org")
        assert isinstance(outcome, Fail)
        assert "non-ASCII characters before the @ (no SMTPUTF8)" in outcome.reason
        assert isinstance(sent(email, to="Jürgen <j@bücher.example>"), Done)


@pytest.mark.parametrize("tls", ["starttls", "tls"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_mails_go_encrypted_and_logged_in(tls: Tls, host: str, tmp_path: Path) -> None:
    variables = {"SMTP_USER": "ann", "SMTP_PASSWORD": "sécret", "SMTP_CA_FILE": ca_file(tmp_path)}
    with (
        smtp_server(tls, login=("ann", "sécret")) as server,
        executor(server.port, SMTP_HOST=host, SMTP_TLS=tls, **variables) as email,
    ):
        assert isinstance(sent(email), Done)
        assert isinstance(sent(email), Done)
        assert email.reach() == f"SMTP server at {host}:{server.port} ({tls})"
    assert [(mail.encrypted, mail.user) for mail in server.mails] == [(True, "ann")] * 2


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_certificate_of_a_stranger_is_refused(tls: Tls) -> None:
    with smtp_server(tls) as server, executor(server.port, SMTP_TLS=tls) as email:
        outcome = sent(email)
        assert isinstance(outcome, Retry)
        assert "certificate that is not trusted" in outcome.reason
        with pytest.raises(ConnectionError, match="certificate that is not trusted"):
            email.reach()
    assert server.mails == []


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    variables = {"SMTP_TLS": "starttls", "SMTP_HOST": "127.0.0.2", "SMTP_CA_FILE": ca_file(tmp_path)}
    with smtp_server("starttls", host="127.0.0.2") as server, executor(server.port, **variables) as email:
        assert "certificate that is not trusted" in reason(sent(email))
    assert server.mails == []


def test_a_server_that_offers_no_starttls_gets_no_mail() -> None:
    with smtp_server() as server, executor(server.port, SMTP_TLS="starttls") as email:
        outcome = sent(email)
    assert isinstance(outcome, Retry)
    assert "STARTTLS" in outcome.reason
    assert server.mails == []


def test_a_wrong_password_is_tried_again_and_never_shown() -> None:
    with (
        smtp_server(login=("ann", "right")) as server,
        executor(server.port, SMTP_USER="ann", SMTP_PASSWORD="hunter2") as email,
    ):
        server.login_reply = "535 5.7.8 hunter2 is not the password"
        outcome = sent(email)
        with pytest.raises(ConnectionError, match=r"535 5\.7\.8") as caught:
            email.reach()
    assert isinstance(outcome, Retry)
    assert outcome.reason == (
        f"SMTP server at 127.0.0.1:{server.port} refused the login of ann: 535 5.7.8 *** is not the password"
    )
    assert "hunter2" not in str(caught.value)


def test_a_server_that_wants_a_login_is_tried_again() -> None:
    with smtp_server(login=("ann", "right")) as server, executor(server.port) as email:
        outcome = sent(email)
    assert isinstance(outcome, Retry)
    assert "530 5.7.0 authentication required" in outcome.reason


def test_a_password_never_goes_in_clear_text_but_to_loopback() -> None:
    with pytest.raises(config.ConfigError, match=r"in clear text to mail\.example"):
        config.load({"SMTP_TLS": "none", "SMTP_HOST": "mail.example.org", "SMTP_USER": "ann"}, ())


def test_a_sender_that_is_no_address_is_refused_at_the_start() -> None:
    with pytest.raises(config.ConfigError, match="SMTP_FROM: is not an e-mail address"):
        Email(config.load({"SMTP_FROM": "the worker@example.org"}, ()))


@pytest.mark.parametrize(("code", "kind"), [("550", Fail), ("552", Fail), ("451", Retry), ("421", Retry)])
def test_a_refused_sender_fails_or_is_tried_again(code: str, kind: type) -> None:
    with smtp_server() as server, executor(server.port) as email:
        server.replies["worker@example.org"] = f"{code} not you"
        outcome = sent(email)
    assert type(outcome) is kind
    assert f"refused the sender worker@example.org: {code} not you" in reason(outcome)


@pytest.mark.parametrize(("code", "kind"), [("550", Fail), ("554", Fail), ("451", Retry), ("421", Retry)])
def test_a_refused_content_fails_or_is_tried_again(code: str, kind: type) -> None:
    with smtp_server() as server, executor(server.port) as email:
        server.content_replies.append(f"{code} no thanks")
        outcome = sent(email)
        assert type(outcome) is kind
        assert f"refused the mail: {code} no thanks" in reason(outcome)
        assert isinstance(sent(email), Done)


@pytest.mark.parametrize(("code", "kind"), [("550", Fail), ("551", Fail), ("450", Retry), ("452", Retry)])
def test_a_refused_recipient_fails_or_is_tried_again(code: str, kind: type) -> None:
    with smtp_server() as server, executor(server.port) as email:
        server.replies["ann@example.org"] = f"{code} no"
        outcome = sent(email)
        assert type(outcome) is kind
        assert f"refused ann@example.org ({code} no)" in reason(outcome)
        assert result(outcome)["refused"] == {"ann@example.org": f"{code} no"}
        assert isinstance(sent(email, to="bob@example.org"), Done)
    assert len(server.mails) == 1


def test_a_mail_above_the_size_limit_fails() -> None:
    with smtp_server(size_limit=10_000) as server, executor(server.port) as email:
        outcome = sent(email, body="x" * 20_000)
    assert isinstance(outcome, Fail)
    assert "552" in outcome.reason


def test_a_retry_goes_only_to_who_has_not_got_the_mail() -> None:
    everybody: Json = ["a@example.org", "grey@example.org", "bad@example.org"]
    with smtp_server() as server, executor(server.port) as email:
        server.replies.update({"grey@example.org": "451 later", "bad@example.org": "550 no such user"})
        first = sent(email, to=everybody)
        assert isinstance(first, Retry)
        assert result(first)["accepted"] == ["a@example.org"]

        second = sent(email, to=everybody, previous=first.result)
        assert isinstance(second, Retry)
        del server.replies["grey@example.org"]
        third = sent(email, to=everybody, previous=second.result)
        assert isinstance(third, Fail)
        assert third.reason.endswith(
            "refused bad@example.org (550 no such user); delivered to a@example.org, grey@example.org"
        )

        del server.replies["bad@example.org"]
        fourth = sent(email, to=everybody, previous=third.result)
        assert isinstance(fourth, Done)
        assert result(fourth)["accepted"] == ["a@example.org", "grey@example.org", "bad@example.org"]
    assert [mail.recipients for mail in server.mails] == [
        *(("a@example.org",), ("grey@example.org",), ("bad@example.org",))
    ]


def test_a_mail_that_all_have_got_is_done_without_traffic() -> None:
    previous: Json = {"accepted": ["ann@example.org"], "reply": "250 ok"}
    with smtp_server() as server, executor(server.port) as email:
        assert sent(email, previous=previous) == Done(previous)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("converse", "told"),
    [
        (smtp_faults.too_busy, "answered 421 4.3.2 too busy while connecting"),
        (smtp_faults.end_session_at_recipient, "answered 421 4.7.0 goodbye while naming the recipients"),
        (
            smtp_faults.drop_after_content,
            "closed the connection while sending the mail, it may have been sent",
        ),
        (
            smtp_faults.nonsense_at_sender,
            "answered -1 Malformed SMTP response line: what? while naming the sender",
        ),
        (Line.close, "closed the connection while connecting"),
    ],
)
def test_a_server_that_breaks_is_tried_again(converse: Callable[[Line], None], told: str) -> None:
    with raw_server(converse) as port, executor(port) as email:
        outcome = sent(email)
    assert isinstance(outcome, Retry)
    assert outcome.reason == f"SMTP server at 127.0.0.1:{port} {told}"


@pytest.mark.parametrize(
    ("converse", "tls"),
    [
        (smtp_faults.hang, "none"),
        (smtp_faults.hang, "starttls"),
        (smtp_faults.hang, "tls"),
        (smtp_faults.drip, "none"),
    ],
)
def test_a_server_that_hangs_takes_no_longer_than_the_deadline(
    converse: Callable[[Line], None], tls: str
) -> None:
    with raw_server(converse) as port, executor(port, SMTP_TLS=tls) as email:
        started = time.monotonic()
        outcome = sent(email, seconds=0.3)
        assert 0.2 < time.monotonic() - started < 0.8
    assert isinstance(outcome, Retry)
    assert outcome.reason.endswith("gave no answer within 0.3 s while connecting")


def test_a_server_that_hangs_after_the_content_may_have_sent_it() -> None:
    with raw_server(smtp_faults.hang_after_content) as port, executor(port, SMTP_TIMEOUT="0.3") as email:
        assert "0.3 s while sending the mail, it may have been sent" in reason(sent(email))


def test_an_attempt_without_time_sends_nothing() -> None:
    with smtp_server() as server, executor(server.port) as email:
        assert isinstance(sent(email, seconds=-1), Retry)
    assert server.connections == 0


def test_a_port_where_nobody_listens_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with executor(port) as email:
        assert reason(sent(email)) == (
            f"SMTP server at 127.0.0.1:{port} cannot be reached (Connection refused) while connecting"
        )
        with pytest.raises(ConnectionError, match="Connection refused"):
            email.reach()


def test_a_host_that_does_not_exist_is_tried_again() -> None:
    with executor(25, SMTP_HOST="mail.invalid") as email:
        outcome = sent(email)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("SMTP server at mail.invalid:25 ")


def test_mails_one_after_another_share_a_connection() -> None:
    with smtp_server() as server, executor(server.port) as email:
        for _ in range(10):
            assert isinstance(sent(email), Done)
    assert server.connections == 1


def test_a_kept_connection_that_the_server_closed_costs_no_attempt() -> None:
    with smtp_server() as server, executor(server.port) as email:
        for _ in range(5):
            assert isinstance(sent(email), Done)
            server.hang_up()
    assert len(server.mails) == 5


@pytest.mark.parametrize("end", [smtp_faults.too_busy, Line.close, smtp_faults.hang])
def test_a_kept_connection_that_the_server_ends_at_the_next_mail_costs_no_attempt(
    end: Callable[[Line], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_pool, "_FIRST_ANSWER_SECONDS", 0.2)

    def converse(line: Line) -> None:
        smtp_faults.take_content(line)
        line.say("250 ok")
        if line.hear() != "QUIT":
            end(line)
        line.say("221 bye")

    with raw_server(converse) as port, executor(port) as email:
        assert [type(sent(email)) for _ in range(3)] == [Done] * 3


def test_an_idle_connection_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_pool, "KEPT_SECONDS", 0.05)
    said: list[str] = []
    ended = threading.Event()

    def converse(line: Line) -> None:
        smtp_faults.take_content(line)
        line.say("250 ok")
        said.append(line.hear())
        line.say("221 bye")
        ended.set()

    with raw_server(converse) as port, executor(port) as email:
        assert isinstance(sent(email), Done)
        assert ended.wait(5)
    assert said == ["QUIT"]


def test_many_threads_send_at_once() -> None:
    with smtp_server() as server, executor(server.port) as email, ThreadPoolExecutor(32) as threads:
        outcomes = list(threads.map(lambda n: sent(email, to=f"a{n}@example.org"), range(200)))
    assert {type(outcome) for outcome in outcomes} == {Done}
    assert {mail.recipients for mail in server.mails} == {(f"a{n}@example.org",) for n in range(200)}
    assert len(server.mails) == 200
    assert server.connections <= smtp_pool.CONNECTIONS


def test_one_broken_mail_among_many_costs_the_others_nothing() -> None:
    with smtp_server() as server, executor(server.port) as email, ThreadPoolExecutor(8) as threads:
        server.replies["bad@example.org"] = "550 no"
        names = ["bad" if n % 3 == 0 else f"a{n}" for n in range(60)]
        outcomes = list(threads.map(lambda name: sent(email, to=f"{name}@example.org"), names))
    assert [type(outcome) for outcome in outcomes] == [Fail if name == "bad" else Done for name in names]


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_closing_is_quick_while_a_server_hangs_and_interrupts_what_runs(tls: str) -> None:
    connected = threading.Event()

    def converse(line: Line) -> None:
        connected.set()
        line.wait_for_end()

    with (
        raw_server(converse) as port,
        executor(port, SMTP_TLS=tls) as email,
        ThreadPoolExecutor(1) as threads,
    ):
        outcome = threads.submit(sent, email)
        assert connected.wait(5)
        started = time.monotonic()
        email.close()
        assert time.monotonic() - started < 2
        assert "interrupted by the worker's end" in reason(outcome.result(5))
        assert "interrupted by the worker's end" in reason(sent(email))
    assert "smtp" not in {thread.name for thread in threading.enumerate()}


def test_closing_says_goodbye_and_can_be_done_twice() -> None:
    with smtp_server() as server, executor(server.port) as email:
        sent(email)
        email.close()
        email.close()


def test_an_executor_that_sends_nothing_starts_no_thread() -> None:
    with executor(25) as email:
        email.parse(LEAST)
        assert "smtp" not in {thread.name for thread in threading.enumerate()}
