from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_worker import InvalidPayload
from at_worker.executors.email import mail
from at_worker.executors.email.mail import Mail
from at_worker.executors.email.mailbox import Mailbox
from at_worker.jsontext import Json
from at_worker.plugin import MissingSetting
from tests.executors.email.mails import LEAST, UID, attempt

# Text that JSON in PostgreSQL can hold and a header may.
LINES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200)


def parsed(**members: Json) -> Mail:
    return mail.parse({**LEAST, **members}, Mailbox("", "at-worker", "host.example"))


def message(**members: Json) -> EmailMessage:
    raw = mail.stamped(parsed(**members), attempt(), datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC))
    found = message_from_bytes(raw, policy=SMTP)
    assert isinstance(found, EmailMessage)
    return found


def content(part: Message) -> str:
    assert isinstance(part, EmailMessage)
    found = part.get_content()
    assert isinstance(found, str)
    return found


def header_names(raw: bytes) -> list[str]:
    head = raw.partition(b"\r\n\r\n")[0]
    return [line.partition(b":")[0].decode() for line in head.split(b"\r\n") if line[:1] not in b" \t"]


def file(**members: Json) -> Mapping[str, Json]:
    return {"filename": "a.txt", "content_base64": "YQ==", **members}


BROKEN: list[tuple[str, Json]] = [
    ("payload", None),
    ("payload", []),
    ("payload", "mail"),
    ("payload", 7),
    ("to", {}),
    ("to", {"subject": "s", "body": "b"}),
    ("to", {**LEAST, "to": None}),
    ("to", {**LEAST, "to": []}),
    ("to", {**LEAST, "to": ""}),
    ("to", {**LEAST, "to": "  "}),
    ("to", {**LEAST, "to": 7}),
    ("to", {**LEAST, "to": True}),
    ("to", {**LEAST, "to": {"a": 1}}),
    ("to", {**LEAST, "to": "ann"}),
    ("to", {**LEAST, "to": "ann@"}),
    ("to", {**LEAST, "to": "@example.org"}),
    ("to", {**LEAST, "to": "ann@example..org"}),
    ("to", {**LEAST, "to": "ann@example.org."}),
    ("to", {**LEAST, "to": "ann@-example.org"}),
    ("to", {**LEAST, "to": "ann@exa mple.org"}),
    ("to", {**LEAST, "to": "ann@[192.0.2.1]"}),
    ("to", {**LEAST, "to": "ann@" + "x" * 64 + ".org"}),
    ("to", {**LEAST, "to": "a" * 65 + "@example.org"}),
    ("to", {**LEAST, "to": "a@" + "x." * 130 + "org"}),
    ("to", {**LEAST, "to": "ann@bob@example.org"}),
    ("to", {**LEAST, "to": "ann bob@example.org"}),
    ("to", {**LEAST, "to": ".ann@example.org"}),
    ("to", {**LEAST, "to": "ann..b@example.org"}),
    ("to", {**LEAST, "to": '"ann b"@example.org'}),
    ("to", {**LEAST, "to": "ann@example.org>"}),
    ("to", {**LEAST, "to": "<ann@example.org"}),
    ("to", {**LEAST, "to": "Ann <ann@example.org> more"}),
    ("to", {**LEAST, "to": "bob@example.org <ann@example.org>"}),
    ("to", {**LEAST, "to": "a@example.org; b@example.org"}),
    ("to", {**LEAST, "to": "team: a@example.org, b@example.org;"}),
    ("to", {**LEAST, "to": "undisclosed-recipients:;"}),
    ("to", {**LEAST, "to": "ann(x)@example.org"}),
    ("to", {**LEAST, "to": "ann@=?utf-8?q?example.org?="}),
    ("to", {**LEAST, "to": "=?utf-8?q?ann=40example.org=3E?= <b@example.org"}),
    ("to", {**LEAST, "to": "ann@example.org\r\nBcc: eve@example.org"}),
    ("to", {**LEAST, "to": "ann@example.org\n"}),
    ("to", {**LEAST, "to": "an\u0000n@example.org"}),
    ("to", {**LEAST, "to": "an\u00a0n@example.org"}),
    ("to", {**LEAST, "to": "ann@example.org\u2028"}),
    ("to", {**LEAST, "to": "Ann\ud800 <ann@example.org>"}),
    ("to", {**LEAST, "to": "=?utf-8?q?x=0ABcc:_eve=40example.org?= <ann@example.org>"}),
    ("to", {**LEAST, "to": "=?utf-8?q?x=0DBcc:?= <ann@example.org>"}),
    ("to", {**LEAST, "to": "=?utf-8?q?x=00?= <ann@example.org>"}),
    ("to", {**LEAST, "to": "ann@stra\u00dfe.de"}),
    ("to", {**LEAST, "to": "ann@\u2100.org"}),
    ("to", {**LEAST, "to": "a@example.org, " * 1000}),
    ("to", {**LEAST, "to": "(" * 9000 + "a@example.org"}),
    ("to[0]", {**LEAST, "to": [None]}),
    ("to[0]", {**LEAST, "to": [7]}),
    ("to[1]", {**LEAST, "to": ["a@example.org", ""]}),
    ("to[1]", {**LEAST, "to": ["a@example.org", ["b@example.org"]]}),
    ("to[1]", {**LEAST, "to": ["a@example.org", "b@example.org, c@example.org"]}),
    ("cc", {**LEAST, "cc": "ann"}),
    ("cc[0]", {**LEAST, "cc": ["ann"]}),
    ("bcc", {**LEAST, "bcc": "ann\r\n@example.org"}),
    ("bcc", {**LEAST, "bcc": 7}),
    ("reply_to", {**LEAST, "reply_to": "nobody"}),
    ("from", {**LEAST, "from": ""}),
    ("from", {**LEAST, "from": 7}),
    ("from", {**LEAST, "from": ["a@example.org"]}),
    ("from", {**LEAST, "from": "a@example.org, b@example.org"}),
    ("from", {**LEAST, "from": "x\r\nBcc: eve@example.org <a@example.org>"}),
    ("subject", {"to": "a@example.org", "body": "b"}),
    ("subject", {**LEAST, "template": "welcome"}),
    ("body", {"to": "a@example.org", "template": "welcome", "body": ""}),
    ("html", {"to": "a@example.org", "template": "welcome", "html": "<p>"}),
    ("template", {"to": "a@example.org", "template": 7}),
    ("template", {"to": "a@example.org", "template": ["welcome"]}),
    *(
        ("template", {"to": "a@example.org", "template": name})
        for name in (
            "",
            " ",
            ".",
            "..",
            "../welcome",
            "/etc/passwd",
            "welcome/../welcome",
            "welcome/",
            "a//b",
            "a\\b",
            "welcome.html",
            ".welcome",
            "welcome\n",
            "wel come",
            "w\u00e9lcome",
            "welcome\u0000",
            "{{ 7 }}",
            "C:welcome",
            "%2e%2e/welcome",
            "x" * 201,
        )
    ),
    ("template_data", {"to": "a@example.org", "template": "welcome", "template_data": "x"}),
    ("template_data", {"to": "a@example.org", "template": "welcome", "template_data": []}),
    ("template_data", {**LEAST, "template_data": 7}),
    ("to", {"template": "welcome"}),
    ("subject", {**LEAST, "subject": None}),
    ("subject", {**LEAST, "subject": ""}),
    ("subject", {**LEAST, "subject": 7}),
    ("subject", {**LEAST, "subject": "a\nBcc: eve@example.org"}),
    ("subject", {**LEAST, "subject": "a\rb"}),
    ("subject", {**LEAST, "subject": "a\u0085b"}),
    ("subject", {**LEAST, "subject": "=?utf-8?q?x=0ABcc:_eve=40example.org?="}),
    ("subject", {**LEAST, "subject": "=?utf-8?b?eA0KQmNjOiBldmVAZXhhbXBsZS5vcmc=?="}),
    ("body", {"to": "a@example.org", "subject": "s"}),
    ("body", {**LEAST, "body": None, "html": "<p>x</p>"}),
    ("body", {**LEAST, "body": {"a": 1}}),
    ("body", {**LEAST, "body": ["a"]}),
    ("body", {**LEAST, "body": "a\u0000b"}),
    ("body", {**LEAST, "body": "a\udfffb"}),
    ("html", {**LEAST, "html": 7}),
    ("headers", {**LEAST, "headers": []}),
    ("headers", {**LEAST, "headers": "X-A: b"}),
    ("headers", {**LEAST, "headers": {"X-A\r\nBcc": "x"}}),
    ("headers.X-A", {**LEAST, "headers": {"X-A": None}}),
    ("headers.X-A", {**LEAST, "headers": {"X-A": ["b"]}}),
    ("headers.X-A", {**LEAST, "headers": {"X-A": "b\r\nBcc: eve@example.org"}}),
    ("headers.X-A", {**LEAST, "headers": {"X-A": "=?utf-8?q?x=0D=0ABcc:_eve?="}}),
    ("headers.", {**LEAST, "headers": {"": "b"}}),
    ("headers.X A", {**LEAST, "headers": {"X A": "b"}}),
    ("headers.X:A", {**LEAST, "headers": {"X:A": "b"}}),
    ("headers.X-Ä", {**LEAST, "headers": {"X-Ä": "b"}}),
    *(
        (f"headers.{name}", {**LEAST, "headers": {name: "x"}})
        for name in (
            "From",
            "TO",
            "cc",
            "Bcc",
            "subject",
            "Date",
            "Message-ID",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
            "Reply-To",
            "Sender",
            "Return-Path",
            "Received",
            "DKIM-Signature",
            "X-At-Worker-Attempt",
        )
    ),
    ("attachments", {**LEAST, "attachments": "a"}),
    ("attachments", {**LEAST, "attachments": {}}),
    ("attachments[0]", {**LEAST, "attachments": ["a"]}),
    ("attachments[1]", {**LEAST, "attachments": [file(), None]}),
    ("attachments[0].filename", {**LEAST, "attachments": [{}]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename="")]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename="..")]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename="../a")]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename="a\\b")]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename="a\r\nX: b")]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename="=?utf-8?q?x=0ABcc:y?=")]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename="=?utf-8?q?=3D=3Fx=0A?=")]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename="ä" * 128)]}),
    ("attachments[0].filename", {**LEAST, "attachments": [file(filename=7)]}),
    ("attachments[0].content_base64", {**LEAST, "attachments": [{"filename": "a"}]}),
    ("attachments[0].content_base64", {**LEAST, "attachments": [file(content_base64="a")]}),
    ("attachments[0].content_base64", {**LEAST, "attachments": [file(content_base64="YQ")]}),
    ("attachments[0].content_base64", {**LEAST, "attachments": [file(content_base64="Y Q==")]}),
    ("attachments[0].content_base64", {**LEAST, "attachments": [file(content_base64="YQ==YQ==")]}),
    ("attachments[0].content_base64", {**LEAST, "attachments": [file(content_base64="YÄ==")]}),
    ("attachments[0].content_base64", {**LEAST, "attachments": [file(content_base64=[1])]}),
    ("attachments[0].content_type", {**LEAST, "attachments": [file(content_type=7)]}),
    ("attachments[0].content_type", {**LEAST, "attachments": [file(content_type="text")]}),
    ("attachments[0].content_type", {**LEAST, "attachments": [file(content_type="text/")]}),
    ("attachments[0].content_type", {**LEAST, "attachments": [file(content_type="text/x; y")]}),
    ("attachments[0].content_type", {**LEAST, "attachments": [file(content_type="text/x\r\nBcc: y")]}),
    ("attachments[0].content_type", {**LEAST, "attachments": [file(content_type="multipart/mixed")]}),
    ("attachments[0].content_type", {**LEAST, "attachments": [file(content_type="message/rfc822")]}),
    (
        "attachments[0].content_type",
        {**LEAST, "attachments": [file(content_type='text/x; name="=?utf-8?q?x=0ABcc:y?="')]},
    ),
]


@pytest.mark.parametrize(("field", "payload"), BROKEN)
def test_a_payload_that_cannot_be_carried_out_names_its_field(field: str, payload: Json) -> None:
    with pytest.raises(InvalidPayload) as caught:
        mail.parse(payload, Mailbox("", "at-worker", "host.example"))
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(
    payload=st.dictionaries(st.sampled_from(["to", "cc", "from", "subject", "body", "headers"]), st.text())
)
def test_any_other_text_is_a_mail_or_an_invalid_payload(payload: dict[str, Json]) -> None:
    try:
        mail.parse({**LEAST, **payload}, Mailbox("", "at-worker", "host.example"))
    except InvalidPayload as problem:
        assert problem.field.partition("[")[0] in payload  # noqa: PT017 - either end is right


def test_the_least_payload_makes_a_whole_mail() -> None:
    found = message()
    assert found["From"] == "at-worker@host.example"
    assert found["To"] == "ann@example.org"
    assert found["Subject"] == "hello"
    assert found["Date"] == "Mon, 06 May 2024 07:08:09 +0000"
    assert found["Message-ID"] == f"<{UID}@host.example>"
    assert found["X-At-Worker-Task-Id"] == "7"
    assert found["X-At-Worker-Attempt"] == "1"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["MIME-Version"] == "1.0"
    assert found.get_content_type() == "text/plain"
    assert content(found) == "text\r\n"


def test_the_message_id_is_the_same_on_every_attempt() -> None:
    assert mail.message_id(parsed(), attempt(1)) == mail.message_id(parsed(), attempt(2))


def test_the_message_id_takes_the_domain_of_the_sender() -> None:
    assert mail.message_id(parsed(**{"from": "Shop <shop@Bücher.example>"}), attempt()) == (
        f"<{UID}@xn--bcher-kva.example>"
    )


def test_a_string_may_hold_several_addresses() -> None:
    assert parsed(to='a@example.org, "Bee, B." <b@example.org>').recipients == (
        "a@example.org",
        "b@example.org",
    )


def test_an_address_is_named_once_however_often_it_is_given() -> None:
    found = parsed(to=["a@example.org", "A <a@EXAMPLE.org>"], cc="a@example.org", bcc="b@example.org")
    assert found.recipients == ("a@example.org", "b@example.org")


def test_bcc_is_in_the_envelope_and_not_in_the_message() -> None:
    found = parsed(bcc=["Hidden <hidden@example.org>"])
    assert "hidden@example.org" in found.recipients
    assert b"idden" not in mail.stamped(found, attempt(), datetime.now(UTC))


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ann@example.org", "", "ann@example.org"),
        ("<ann@example.org>", "", "ann@example.org"),
        ("Ann <ann@example.org>", "Ann", "ann@example.org"),
        ("Ann A. Smith <ann@example.org>", "Ann A. Smith", "ann@example.org"),
        ('"Smith, Ann" <ann@example.org>', "Smith, Ann", "ann@example.org"),
        ('"a \\"b\\" \\\\ c" <ann@example.org>', 'a "b" \\ c', "ann@example.org"),
        ("Jürgen Größe <j@example.org>", "Jürgen Größe", "j@example.org"),
        ("=?utf-8?q?J=C3=BCrgen?= <j@example.org>", "Jürgen", "j@example.org"),
        ("日本語 😀 <j@example.org>", "日本語 😀", "j@example.org"),
        ("O'Brien <o'b+tag@example.org>", "O'Brien", "o'b+tag@example.org"),
        ("ann@Bücher.Example", "", "ann@xn--bcher-kva.example"),
        ("ann@localhost", "", "ann@localhost"),
    ],
)
def test_an_address_arrives_as_it_was_meant(text: str, name: str, address: str) -> None:
    (found,) = message(to=text)["To"].addresses
    assert (found.display_name, found.addr_spec) == (name, address)


@pytest.mark.parametrize("name", ["long name " * 30, "größer " * 40])
def test_a_long_name_arrives_whole(name: str) -> None:
    found = message_from_bytes(parsed(to=f"{name} <ann@example.org>").content)
    # Python 3.11 reads encoded words of an address with blanks between them, RFC 2047 section 6.2 without.
    assert str(make_header(decode_header(found["To"]))) == f"{name.strip()} <ann@example.org>"


def test_commas_in_names_part_no_addresses_where_a_header_is_folded() -> None:
    names = [f"Größe, Nummer {number}" for number in range(30)]
    found = message(to=[f'"{name}" <a{number}@example.org>' for number, name in enumerate(names)])
    assert [address.display_name for address in found["To"].addresses] == names


def test_a_local_part_outside_ascii_makes_the_mail_international() -> None:
    assert not parsed(to="Jürgen <j@bücher.example>").international
    assert parsed(to="jürgen@example.org").international
    assert parsed(bcc="jürgen@example.org").international
    assert "To: jürgen@example.org\r\n".encode() in parsed(to="jürgen@example.org").content


def test_own_headers_are_added() -> None:
    found = message(headers={"X-Number": 7, "X-Flag": True, "List-Id": "Größe"}, reply_to="r@example.org")
    assert (found["X-Number"], found["X-Flag"], found["List-Id"]) == ("7", "true", "Größe")
    assert found["Reply-To"] == "r@example.org"


def test_auto_submitted_can_be_said_otherwise() -> None:
    assert message(headers={"auto-submitted": "no"}).get_all("Auto-Submitted") == ["no"]


def test_encoded_words_in_a_subject_are_read() -> None:
    assert message(subject="=?utf-8?q?Gr=C3=B6=C3=9Fe?= 7")["Subject"] == "Größe 7"


def test_an_encoded_word_inside_an_encoded_word_stays_text() -> None:
    raw = mail.stamped(
        parsed(subject="=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3D0ABcc=3A?==?utf-8?q?_eve=3F=3D?="),
        attempt(),
        datetime.now(UTC),
    )
    assert "Bcc" not in header_names(raw)


@given(
    subject=LINES.filter(str.strip), name=LINES, value=LINES, filename=LINES.filter(str.strip), body=st.text()
)
def test_no_text_adds_a_header_or_a_long_line(
    subject: str, name: str, value: str, filename: str, body: str
) -> None:
    quoted = name.replace("\\", "").replace('"', "")
    try:
        found = parsed(
            to=[f'"{quoted}" <ann@example.org>'],
            subject=subject,
            headers={"X-Value": value},
            body=body,
            attachments=[file(filename=filename)],
        )
    except InvalidPayload:
        return
    raw = mail.stamped(found, attempt(), datetime.now(UTC))
    assert header_names(raw) == [
        *(
            "Date",
            "Message-ID",
            "X-At-Worker-Task-Id",
            "X-At-Worker-Attempt",
            "From",
            "To",
            "Subject",
            "X-Value",
        ),
        *("Auto-Submitted", "MIME-Version", "Content-Type"),
    ]
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.isascii()


@given(subject=LINES.filter(lambda text: "=?" not in text).map(str.strip).filter(bool))
def test_any_subject_arrives(subject: str) -> None:
    assert message(subject=subject)["Subject"] == subject


@given(body=st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t .")))
def test_any_body_arrives(body: str) -> None:
    # A mail always ends with a line break.
    assert content(message(body=body)).replace("\r\n", "\n").rstrip("\n") == body.rstrip("\n")


def test_long_lines_arrive() -> None:
    body = "x" * 5000 + "\n" + "ö" * 5000
    assert content(message(body=body)) == body.replace("\n", "\r\n") + "\r\n"


def test_html_makes_an_alternative() -> None:
    found = message(html="<p>Größe</p>")
    assert found.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "text/html"]
    html = found.get_body(("html",))
    assert html is not None
    assert content(html) == "<p>Größe</p>\r\n"


def test_attachments_arrive_byte_for_byte() -> None:
    found = message(
        html="<p>x</p>",
        attachments=[
            {
                "filename": "naïve café.csv",
                "content_base64": "YSxiCg0Kww==",
                "content_type": "text/csv; charset=utf-8",
            },
            {"filename": "a.png", "content_base64": "AAEC\r\nAwQ=\n"},
            {"filename": "empty.unknown", "content_base64": ""},
            {"filename": "mail.eml", "content_base64": "YQ=="},
            {"filename": "a.tar.gz", "content_base64": "YQ=="},
        ],
    )
    assert found.get_content_type() == "multipart/mixed"
    parts = list(found.iter_attachments())
    assert [part.get_filename() for part in parts] == [
        *("naïve café.csv", "a.png", "empty.unknown", "mail.eml", "a.tar.gz")
    ]
    assert [part.get_payload(decode=True) for part in parts] == [
        *(b"a,b\n\r\n\xc3", b"\x00\x01\x02\x03\x04", b"", b"a", b"a")
    ]
    assert [part.get_content_type() for part in parts] == [
        *(
            "text/csv",
            "image/png",
            "application/octet-stream",
            "application/octet-stream",
            "application/octet-stream",
        )
    ]
    assert parts[0].get_content_charset() == "utf-8"


@given(filename=LINES.filter(lambda text: "=?" not in text).map(str.strip).filter(bool))
def test_any_file_name_arrives(filename: str) -> None:
    try:
        found = message(attachments=[file(filename=filename)])
    except InvalidPayload:
        return
    assert [part.get_filename() for part in found.iter_attachments()] == [filename]


def test_a_long_header_value_without_blanks_is_folded() -> None:
    assert message(subject="x" * 3000)["Subject"] == "x" * 3000


def test_unknown_keys_are_ignored() -> None:
    assert parsed(template_data={"a": 1}, whatever=7) == parsed()


def test_a_template_needs_a_worker_that_has_templates() -> None:
    with pytest.raises(MissingSetting, match=r"^missing setting: template: SMTP_TEMPLATES is not set$"):
        mail.parse({"to": "ann@example.org", "template": "welcome"}, Mailbox("", "at-worker", "host.example"))
