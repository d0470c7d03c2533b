"""All measurements, in the order of the report."""

from bench.measure import Measure
from bench.measures import (
    beside_https,
    callbacks,
    claims,
    drain,
    idle,
    inserts,
    lateness,
    mails,
    memory,
    messages,
    snapshot,
)

MEASURES: dict[str, Measure] = {
    module.MEASURE.name: module.MEASURE
    for module in (
        drain,
        lateness,
        callbacks,
        beside_https,
        messages,
        mails,
        claims,
        snapshot,
        inserts,
        idle,
        memory,
    )
}
