"""Lengths of time as people write them in settings: `30s`, `5m`, `2h`, `7d`."""

import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([smhd])?", re.ASCII)


def seconds(text: str, bare_unit: str) -> float:
    """Seconds in `text`; a bare number counts in `bare_unit` (s, m, h or d). Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 30s, 5m, 2h or 7d")
    return float(match[1]) * _SECONDS[match[2] or bare_unit]
