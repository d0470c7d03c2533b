"""The executor of `http_callback`: one HTTP request an attempt."""

import time
from dataclasses import replace
from datetime import UTC
from functools import lru_cache
from urllib.parse import urlsplit

from at_worker import __version__, redact
from at_worker.config import Settings, signing_keys
from at_worker.executors.http_callback import payload as http_payload
from at_worker.executors.http_callback.answer import body_text, classify, first_line, moved_to, retry_after
from at_worker.executors.http_callback.deadlines import NoAnswer, Unreachable, host_and_port
from at_worker.executors.http_callback.guard import Guard, Refused
from at_worker.executors.http_callback.payload import Callback
from at_worker.executors.http_callback.signing import signature
from at_worker.executors.http_callback.transport import Request, Transport
from at_worker.executors.http_callback.vault import Vault
from at_worker.jsontext import Json
from at_worker.outcome import Fail, Outcome, Retry
from at_worker.plugin import Attempt, InvalidPayload

DEFAULT_PORTS = {"http": 80, "https": 443}


class HttpCallback:
    """Makes the request of a payload; its answer decides, and connection errors and timeouts may pass."""

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.http_timeout
        self._most = settings.http_result_bytes
        guard = Guard(settings.http_guard, settings.http_allow)
        # Tasks name the same hosts again and again.
        self._refusal = lru_cache(maxsize=1024)(guard.refusal_of_spelled)
        self._keys = signing_keys(settings.webhook_secret) if settings.webhook_secret else ()
        self._vault = Vault(settings.secrets, proxied=settings.http_proxy_url is not None)
        self._transport = Transport(
            ca_file=settings.http_ca_file, proxy_url=settings.http_proxy_url, guard=guard
        )

    def parse(self, payload: Json) -> Callback:
        callback = http_payload.parse(payload, self._vault)
        if why := self._refusal(urlsplit(callback.url).hostname or ""):
            raise InvalidPayload("url", f"is {why}")
        return callback

    def destination(self, payload: Callback) -> str:
        """Host and port of the URL."""
        parts = urlsplit(payload.url)
        return host_and_port(parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme])

    def execute(self, payload: Callback, attempt: Attempt) -> Outcome:
        started = time.monotonic()
        ends = min(started + (payload.timeout or self._timeout), attempt.deadline)
        try:
            answer = self._transport.exchange(self._request(payload, attempt), ends, self._most)
        except NoAnswer as error:
            return Retry(str(error), unreachable=isinstance(error, Unreachable))
        except Refused as error:
            return Fail(f"refused: {error}")
        result: dict[str, Json] = {"status": answer.status}
        if body := redact.without(body_text(answer, self._most), payload.secrets):
            result["body"] = body
        result["ms"] = round((time.monotonic() - started) * 1000)
        return classify(
            answer.status,
            urlsplit(payload.url).netloc,
            moved_to=moved_to(answer, payload.url),
            after=retry_after(answer),
            note=first_line(body),
            result=result,
        )

    def describe(self, payload: Callback, attempt: Attempt) -> str:
        """The URL, and the request as it would go over the wire."""
        request = self._request(payload, attempt)
        shown = replace(request, url=redact.named_values(request.url))
        head, _, body = self._transport.message(shown).partition(b"\r\n\r\n")
        lines = [_without_secret(line) for line in head.decode("latin-1").split("\r\n")]
        return redact.without("\n".join([shown.url, "", *lines, "", body.decode()]), payload.secrets)

    def close(self) -> None:
        self._transport.close()

    def _request(self, payload: Callback, attempt: Attempt) -> Request:
        headers = {**self._identity(attempt, payload), **payload.headers}
        if attempt.trace and not any(name.lower() == "traceparent" for name in payload.headers):
            headers = {**headers, **attempt.trace}
        return Request(payload.method, payload.url, headers, payload.content)

    def _identity(self, attempt: Attempt, payload: Callback) -> dict[str, str]:
        headers = identity(attempt)
        if keys := payload.signing_keys or self._keys:
            message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
            headers["webhook-signature"] = signature(keys, message_id, timestamp, payload.content or b"")
        return headers


def _without_secret(line: str) -> str:
    """A line of the head; what at-worker itself sets is no secret, whatever its name."""
    name, colon, _ = line.partition(": ")
    is_ours = name in ("Idempotency-Key", "webhook-signature")
    return f"{name}: {redact.HIDDEN}" if colon and redact.is_sensitive(name) and not is_ours else line


def identity(attempt: Attempt) -> dict[str, str]:
    """The headers that tell a receiver who calls, for which task, and whether it has seen it before.

    `webhook-id` and `webhook-timestamp` are those of Standard Webhooks, `Idempotency-Key` that of the IETF
    draft, but without quotes, as receivers know it.
    """
    scheduled = attempt.scheduled_at.astimezone(UTC).isoformat(timespec="milliseconds")
    return {
        "User-Agent": f"at-worker/{__version__}",
        "Idempotency-Key": attempt.task_uid,
        "webhook-id": attempt.task_uid,
        "webhook-timestamp": str(int(time.time())),
        "X-At-Worker-Task-Id": str(attempt.task_id),
        "X-At-Worker-Attempt": str(attempt.number),
        "X-At-Worker-Scheduled-At": scheduled.replace("+00:00", "Z"),
    }
