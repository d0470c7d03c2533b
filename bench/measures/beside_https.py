"""Lateness of no-op tasks in a worker process that is busy with HTTPS callbacks."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import trustme

from bench.arena import Arena
from bench.contenders import at_worker
from bench.contenders.contender import Contender
from bench.deliveries import DATA, insert
from bench.enqueue import enqueuer
from bench.measure import Measure, Metric, Sample, Trial, curve, spread
from bench.measures.lateness import RATES, lateness
from bench.plan import Plan
from bench.servers.serving import serving
from bench.waiting import WARM_UPS, until_finished, until_ready, until_started

CALLBACKS = 300
ANSWER = 0.02  # seconds
LEAD = 2.0  # seconds between the inserts and the first callback
HEADSTART = 1.0  # seconds of callbacks before the first no-op task


def certificate(directory: Path) -> tuple[Path, Path]:
    """The server's key with its certificate, and the authority's."""
    authority = trustme.CA()
    server, trusted = directory / "server.pem", directory / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(server))
    authority.cert_pem.write_to_path(str(trusted))
    return server, trusted


def beside(arena: Arena, worker: Contender, seconds: float, server_pem: Path) -> Sample:
    """A life of the worker for each rate."""
    samples = [at_rate(arena, worker, seconds, rate, server_pem) for rate in RATES]
    return Sample(
        {
            f"{key}@{rate}": value
            for rate, one in zip(RATES, samples, strict=True)
            for key, value in one.values.items()
        },
        {f"lateness@{rate}": one.curves["lateness"] for rate, one in zip(RATES, samples, strict=True)},
    )


def at_rate(arena: Arena, worker: Contender, seconds: float, rate: int, server_pem: Path) -> Sample:
    """Both kinds of tasks, scheduled ahead, in one process."""
    count, calls = round(rate * seconds), round(CALLBACKS * (HEADSTART + seconds))
    with (
        serving("http", arena.directory, calls, str(ANSWER), str(server_pem)) as server,
        arena.place(WARM_UPS + count) as place,
        enqueuer(worker, place) as producer,
    ):
        producer.prepare()
        arena.settle_down()
        with worker.run(place) as workers:
            until_ready(place, workers, producer)
            payload = {"url": f"https://127.0.0.1:{server.port}/hook", "data": DATA}
            insert(place, "http_callback", payload, calls, start=LEAD, rate=CALLBACKS)
            due = time.time() + LEAD + HEADSTART + np.arange(count) / rate
            producer.schedule(WARM_UPS, due.tolist())
            until_started(place, workers, WARM_UPS, count)
            until_finished(worker, place)
        late = lateness(place, WARM_UPS, due)
        arrived = server.arrivals.times(0, calls)
        achieved = (calls - 1) / float(arrived.max() - arrived.min())
    return Sample(
        {**spread(late), "early": float((late < 0).sum()), "calls": achieved}, {"lateness": curve(late)}
    )


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """at-worker with its defaults; the authority of the test server is all that is set."""
    server_pem, trusted = certificate(arena.directory)
    worker = at_worker.worker("defaults", 0, HTTP_CA_FILE=str(trusted))
    yield [Trial(worker.label, "none", partial(beside, arena, worker, plan.lateness_seconds, server_pem))]


MEASURE = Measure(
    "beside_https",
    "Lateness beside HTTPS callbacks",
    f"No-op tasks, scheduled ahead, while the same worker process makes {CALLBACKS} HTTPS callbacks a second "
    "to a server that answers after 20 ms. Milliseconds.",
    tuple(
        metric
        for rate in RATES
        for metric in (
            *(Metric(f"{key}@{rate}", f"{key} at {rate}/s", "lower", 2) for key in ("p50", "p99", "max")),
            Metric(f"early@{rate}", f"early at {rate}/s", "lower"),
            Metric(f"calls@{rate}", f"callbacks/s beside {rate}/s", "neither"),
        )
    ),
    trials,
)
