"""What programs hand to `schedule`: the payloads of the three task types, by their keys and with types.

Of what is not given nothing gets into the row. The worker checks a payload when its hour comes, and
`at-worker check` before that; here only what no type can tell is looked at.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, TypedDict

from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload


class Payload(Protocol):
    """A payload that knows its type; a plug-in may offer classes of its own."""

    task_type: ClassVar[str]

    def payload(self) -> Json:
        """What goes into the column `payload`."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Stands for the AT_SECRET_NAME of the worker, so that the row holds no secret; `name` is NAME alone."""

    name: str


class Basic(TypedDict):
    """User and password, for HttpCallback.auth."""

    basic: tuple[str, str | Secret]


class Bearer(TypedDict):
    """A token, for HttpCallback.auth."""

    bearer: str | Secret


@dataclass(frozen=True, slots=True)
class HttpCallback:
    """A request to `url`; `timeout` is in seconds, `sign` the secret that signs it."""

    task_type: ClassVar[str] = "http_callback"

    url: str
    _: KW_ONLY
    data: Json = None
    method: Literal["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"] | None = None
    headers: Mapping[str, str | Secret] | None = field(default=None, repr=False)
    timeout: float | None = None
    auth: Basic | Bearer | None = field(default=None, repr=False)
    sign: Secret | None = None

    def payload(self) -> Json:
        named = {key: _referring(getattr(self, key)) for key in ("headers", "auth", "sign")}
        return _given(self, **named)


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMQ:
    """A message to a `queue`, or to an `exchange` with a `routing_key`; `expiration` is in milliseconds."""

    task_type: ClassVar[str] = "rabbitmq"

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    data: Json = None
    headers: Mapping[str, Json] | None = None
    content_type: str | None = None
    priority: int | None = None
    expiration: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    type: str | None = None

    def __post_init__(self) -> None:
        exchanged = (self.exchange, self.routing_key)
        if self.queue is None and None in exchanged:
            raise InvalidPayload("queue", "is missing, and so is exchange with routing_key")
        if self.queue is not None and exchanged != (None, None):
            raise InvalidPayload("queue", "cannot stand beside exchange or routing_key")

    def payload(self) -> Json:
        return _given(self)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with an e-mail; its type is told by its name unless it is given."""

    filename: str
    content: bytes = field(repr=False)
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """A mail with `subject` and `body`, or with a `template` of the worker's; `from_` is the key `from`."""

    task_type: ClassVar[str] = "email"

    to: str | Sequence[str]
    subject: str | None = None
    body: str | None = None
    html: str | None = None
    template: str | None = None
    template_data: Mapping[str, Json] | None = None
    cc: str | Sequence[str] | None = None
    bcc: str | Sequence[str] | None = None
    from_: str | None = None
    reply_to: str | Sequence[str] | None = None
    headers: Mapping[str, str] | None = None
    attachments: Sequence[Attachment] | None = None

    def __post_init__(self) -> None:
        for key in ("subject", "body", "html"):
            given = getattr(self, key) is not None
            if self.template is not None and given:
                raise InvalidPayload(key, "cannot stand beside template, which makes it")
            if self.template is None and not given and key != "html":
                raise InvalidPayload(key, "is missing, and so is template")

    def payload(self) -> Json:
        files = self.attachments
        return _given(self, attachments=None if files is None else [_attached(file) for file in files])


def _given(payload: Any, **rendered: Json) -> dict[str, Json]:  # noqa: ANN401 - any of the classes above
    """The fields that are given, by the keys of the contract; some are `rendered` already."""
    members = {key.name: getattr(payload, key.name) for key in fields(payload)} | rendered
    return {name.removesuffix("_"): value for name, value in members.items() if value is not None}


def _referring(value: Any) -> Json:  # noqa: ANN401 - whatever JSON can hold, and secrets
    """A value with references in the place of its secrets."""
    match value:
        case Secret(name):
            return {"$secret": name}
        case Mapping():
            return {key: _referring(member) for key, member in value.items()}
        case list() | tuple():
            return [_referring(member) for member in value]
        case _:
            plain: Json = value
            return plain


def _attached(file: Attachment) -> Json:
    return _given(file, content=None) | {"content_base64": base64.b64encode(file.content).decode("ascii")}
