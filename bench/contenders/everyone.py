"""All contenders, in the order of the tables."""

from bench.contenders import at_worker, celery, dramatiq, oban, pgqueuer, procrastinate
from bench.contenders.contender import Contender

EVERYONE: tuple[Contender, ...] = (
    *at_worker.CONTENDERS,
    *pgqueuer.CONTENDERS,
    *oban.CONTENDERS,
    *procrastinate.CONTENDERS,
    *celery.CONTENDERS,
    *dramatiq.CONTENDERS,
)
