"""Signing secrets as Standard Webhooks writes them: `whsec_` and 24 to 64 random bytes in base64."""

import base64

PREFIX = "whsec_"


def signing_keys(text: str) -> tuple[bytes, ...]:
    """The keys of one or more secrets with blanks between. Raises ValueError, which shows none of them."""
    keys = tuple(map(_key, text.split()))
    if not keys:
        raise ValueError("holds no signing secret")
    return keys


def signing_secrets(text: str) -> str:
    """The same text, once it is known to hold such secrets."""
    signing_keys(text)
    return text


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(
            f"is not {PREFIX} and 24 to 64 bytes in base64, or several of these with blanks between"
        )
    return key
