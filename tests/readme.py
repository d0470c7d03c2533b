"""The README, taken apart."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```(\S*) ?(\S*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [code for found, _, code in BLOCKS if found == language]


def section(heading: str) -> str:
    """What stands below a heading, up to the next one."""
    _, _, rest = README.partition(f"\n{heading}\n")
    assert rest, f"README.md has no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of all tables below a heading, without their heads."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    rules = [index for index, line in enumerate(lines) if re.fullmatch(r"[|-]+", line)]
    heads = {index - 1 for index in rules} | set(rules)
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for index, line in enumerate(lines)
        if index not in heads
    ]


def quoted(cell: str) -> list[str]:
    found: list[str] = re.findall(r"`([^`]+)`", cell)
    return found
