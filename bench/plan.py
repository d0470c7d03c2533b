"""How much is measured: sizes and rounds."""

from collections.abc import Iterable
from dataclasses import dataclass

from bench.contenders.contender import Contender


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of a run. `scale` multiplies the numbers of tasks, `rounds` bounds those of each measure."""

    name: str
    rounds: int
    scale: float
    peer_defaults: bool  # whether peers run with their defaults too
    two_processes: bool  # whether they drain with two processes too
    lateness_seconds: float
    due_now_tasks: int
    claim_rows: tuple[int, ...]
    finished_rows: int
    snapshot_tasks: int
    snapshot_claims: int  # how many claims those tasks take
    insert_seconds: float
    idle_seconds: float
    peers_idle_seconds: float
    memory_tasks: int
    names: tuple[str, ...] = ()  # where given, only contenders whose names begin so

    def tasks(self, number: int) -> int:
        """A number of tasks, scaled."""
        return max(200, round(number * self.scale))

    def contenders(self, everyone: Iterable[Contender]) -> list[Contender]:
        """Who takes part."""
        return [
            one
            for one in everyone
            if (one.tuned or self.peer_defaults or one.name == "at-worker")
            and (not self.names or one.name.lower().startswith(tuple(map(str.lower, self.names))))
        ]


QUICK = Plan(
    name="quick",
    rounds=1,
    scale=0.2,
    peer_defaults=False,
    two_processes=False,
    lateness_seconds=1.0,
    due_now_tasks=30,
    claim_rows=(100_000, 1_000_000),
    finished_rows=200_000,
    snapshot_tasks=8_000,
    snapshot_claims=800,
    insert_seconds=1.0,
    idle_seconds=10.0,
    peers_idle_seconds=5.0,
    memory_tasks=50_000,
)
FULL = Plan(
    name="full",
    rounds=3,
    scale=1.0,
    peer_defaults=True,
    two_processes=True,
    lateness_seconds=3.0,
    due_now_tasks=75,
    claim_rows=(100_000, 1_000_000, 10_000_000),
    finished_rows=1_000_000,
    snapshot_tasks=200_000,
    snapshot_claims=4_000,
    insert_seconds=3.0,
    idle_seconds=30.0,
    peers_idle_seconds=5.0,
    memory_tasks=1_000_000,
)
