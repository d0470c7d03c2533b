"""Signatures of callbacks, by the specification of Standard Webhooks 1.0."""

import base64
import hmac
from collections.abc import Iterable


def signature(keys: Iterable[bytes], message_id: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each key, so that receivers can change theirs."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}" for key in keys)
