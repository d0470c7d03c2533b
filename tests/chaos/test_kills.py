"""Worker processes that die."""

from contextlib import ExitStack

from tests.chaos.experiment import Experiment
from tests.processes import PATIENCE

TASKS = 1500
EVERY = 300  # arrivals between two kills


def test_a_storm_of_kills_loses_nothing(experiment: Experiment) -> None:
    count = int(TASKS * experiment.size)
    with ExitStack() as stack:
        workers = [stack.enter_context(experiment.worker(f"w-{n}", "--processes", "2")) for n in (1, 2)]
        tasks = experiment.submit(count, spread=count / 1000)
        arrived = 0
        while (arrived := arrived + experiment.random.randint(1, EVERY)) < count:
            experiment.receiver.wait_for(arrived, PATIENCE)
            experiment.kill(experiment.random.choice(workers))
        experiment.wait_until_ended()
        assert [worker.stop() for worker in workers] == [0, 0]
    experiment.verify()
    assert len(tasks) == count
