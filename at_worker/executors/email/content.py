"""What a mail says: as its payload has it, or as a template makes it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from at_worker.executors import fields
from at_worker.executors.email import headertext
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload, MissingSetting

# The field that a file of a template takes the place of, and how the file's name ends.
ENDINGS = {"subject": ".subject.txt", "body": ".txt", "html": ".html"}
LONGEST_NAME = 200

_NAME = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class Content:
    """A subject of one line, and the same mail as text and perhaps as HTML."""

    subject: str
    body: str
    html: str | None = None


Render = Callable[[str, Mapping[str, Json]], Content]


def no_templates(name: str, data: Mapping[str, Json]) -> Content:  # noqa: ARG001 - it stands in for a Render
    """What a worker without a directory of templates makes of them. Raises MissingSetting."""
    raise MissingSetting("template", "SMTP_TEMPLATES is not set")


def parse(members: Mapping[str, Json], render: Render) -> Content:
    """Check `subject`, `body` and `html`, or what `template` makes. Raises InvalidPayload, MissingSetting."""
    name = fields.text(members, "template")
    given = members.get("template_data")
    data = {} if given is None else fields.members(given, "template_data")
    if name is not None:
        return _from_template(members, name, data, render)
    subject = fields.required_line(members, "subject")
    body = fields.text(members, "body")
    if body is None:
        raise InvalidPayload("body", "is missing")
    return _checked(Content(subject, body, fields.text(members, "html")))


def _from_template(
    members: Mapping[str, Json], name: str, data: Mapping[str, Json], render: Render
) -> Content:
    for field in ENDINGS:
        if members.get(field) is not None:
            raise InvalidPayload(field, "cannot stand beside template, which makes it")
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise InvalidPayload(
            "template", "is not a name of letters, digits, _ and -, with / between directories and no ending"
        )
    made = render(name, data)
    try:
        return _checked(made)
    except InvalidPayload as problem:
        raise InvalidPayload("template", f"{name}{ENDINGS[problem.field]} {problem.why}") from None


def _checked(content: Content) -> Content:
    subject = headertext.decoded("subject", content.subject)
    if not subject:
        raise InvalidPayload("subject", "is empty")
    for field, text in (("body", content.body), ("html", content.html or "")):
        fields.utf8(field, text)
        if "\0" in text:
            raise InvalidPayload(field, "holds the control character U+0000")
    return Content(subject, content.body, content.html)
