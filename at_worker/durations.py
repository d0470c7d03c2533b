"""Lengths of time as people write them in settings, `30s`, `5m`, `2h`, `7d`, and as they are told."""

import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([smhd])?", re.ASCII)


def seconds(text: str, bare_unit: str) -> float:
    """Seconds in `text`; a bare number counts in `bare_unit` (s, m, h or d). Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 30s, 5m, 2h or 7d")
    return float(match[1]) * _SECONDS[match[2] or bare_unit]


def spoken(seconds: float) -> str:
    """Seconds as people say them, in the two largest units: `2 h 30 min`, `3 d`, `1.5 s`, `12 ms`."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    rest = round(seconds)
    parts: list[str] = []
    for length, unit in _UNITS:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
    return " ".join(filter(None, parts[:2]))
