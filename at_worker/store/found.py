"""The reply to a claim."""

import json
from collections.abc import Sequence
from typing import NamedTuple, Self

from at_worker.store.lanes import Lane
from at_worker.store.rows import DUE, ID
from at_worker.store.session import Row

# The status that a row has now, and the columns of TASK.
Claimed = tuple[str, Row]


class Found(NamedTuple):
    """What a claim took, the lanes it found, and what it has left.

    `more` and `coming` are as in a Batch, the latter of what is beyond the look-ahead. Instants of the
    database are seconds since the epoch, its own some time before the reply; `asked` and `replied` monotonic.
    """

    coming: float | None
    more: bool
    began: float
    database_time: float
    lanes: Sequence[Lane]
    claimed: Sequence[Claimed]
    asked: float
    replied: float

    @classmethod
    def of(cls, rows: Sequence[Row], asked: float, replied: float) -> Self:
        coming, began, _, lanes, *_ = rows[0]
        return cls(
            coming=coming,
            more=False,
            began=began,
            # The last row was made last.
            database_time=rows[-1][2],
            lanes=[Lane(*lane) for lane in json.loads(lanes)] if lanes else [],
            claimed=[(row[5], row[6:]) for row in rows if row[5] is not None],
            asked=asked,
            replied=replied,
        )


def in_order(claimed: Sequence[Claimed]) -> Sequence[Claimed]:
    """The rows of one lane in its order; of what an UPDATE returns it has none."""
    return sorted(claimed, key=lambda each: (each[1][DUE], each[1][ID]))
