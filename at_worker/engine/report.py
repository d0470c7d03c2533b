"""What a worker process tells its parent of itself, as one packet of their socket."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from at_worker.engine.tally import Numbers
from at_worker.text import clip

# It has to fit into a packet, and the texts of a users' own trigger may be of any length.
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Report:
    """Why the process is not ready, what it has counted since its start, and how it is just now.

    `problems` are settings that it cannot use.
    """

    unready: str | None = "it is starting"
    counts: Numbers = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        """The types of tasks that it counts apart."""
        match self.counts:
            case {"types": dict(types)}:
                return list(types)
            case _:
                return []

    def packed(self, number: int) -> bytes:
        """As the answer to the question of this number."""
        unready = None if self.unready is None else clip(self.unready, LONGEST_REASON)
        problems = [clip(problem, LONGEST_REASON) for problem in self.problems]
        return json.dumps([number, unready, self.counts, self.gauges, problems]).encode()

    @classmethod
    def unpacked(cls, message: bytes) -> tuple[int, Self]:
        """The number of the question, and the answer."""
        number, *told = json.loads(message)
        return number, cls(*told)
