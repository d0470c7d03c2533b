"""The executor of `http_callback`: one HTTP request an attempt."""

import time
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
        headers = {**self._identity(attempt, payload), **payload.headers}
        try:
            request = Request(payload.method, payload.url, headers, payload.content)
            answer = self._transport.exchange(request, ends, self._most)
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

    def close(self) -> None:
        self._transport.close()

    def _identity(self, attempt: Attempt, payload: Callback) -> dict[str, str]:
        headers = identity(attempt)
        if keys := payload.signing_keys or self._keys:
            message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
            headers["webhook-signature"] = signature(keys, message_id, timestamp, payload.content or b"")
        return headers


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
