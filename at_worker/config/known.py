"""What of the settings nobody may read."""

from dataclasses import fields
from urllib.parse import parse_qsl, unquote, urlsplit

from at_worker.config.settings import Settings, variable_of, variables
from at_worker.config.signing import PREFIX
from at_worker.config.telemetry import ENDPOINTS, HEADERS
from at_worker.redact import is_sensitive

# A word of a secret that is as long is a secret itself: the token after `Bearer `, one of several `whsec_`.
_LONG_WORD = 16


def secret_values(settings: Settings) -> set[str]:
    """Every secret of these settings; but defaults, which everybody knows, are none."""
    found = {word for secret in settings.secrets.values() for word in _words(secret.value)}
    for setting in fields(Settings):
        variable = variable_of(setting)
        value = getattr(settings, setting.name)
        if variable is not None and variable.secret and value:
            found |= _of_url(value) if variable.name.endswith(("_URL", "_DSN")) else _words(value)
    for name, text in settings.telemetry.variables.items():
        if name in HEADERS:
            found |= {form for part in text.split(",") for form in _of_header(part.partition("=")[2].strip())}
        elif name in ENDPOINTS:
            found |= _of_url(text)
    return found - {variable.default for variable in variables()}


def _of_header(value: str) -> set[str]:
    return _words(value) | _words(unquote(value))


def _words(value: str) -> set[str]:
    return {value, *(word.removeprefix(PREFIX) for word in value.split() if len(word) >= _LONG_WORD)}


def _of_url(url: str) -> set[str]:
    parts = urlsplit(url)
    found = {value for name, value in parse_qsl(parts.query) if is_sensitive(name)}
    return found | ({parts.password, unquote(parts.password)} if parts.password else set())
