"""Worker processes that die."""

from contextlib import ExitStack

from tests.chaos.experiment import Experiment
from tests.processes import PATIENCE

TASKS = 1000
RATE = 500.0  # tasks a second
EVERY = 300  # at most so many arrivals between two kills


def test_a_storm_of_kills_loses_nothing(experiment: Experiment) -> None:
    count = int(TASKS * experiment.size)
    spread = count / RATE
    with ExitStack() as stack:
        # Nothing depends on the name: both have the same.
        fleet = [stack.enter_context(experiment.worker("w", "--processes", "2")) for _ in range(2)]
        experiment.submit(count, spread=spread)
        experiment.submit(count // 10, "/fails/1", spread=spread)
        refused = experiment.submit(count // 10, "/status/410", spread=spread)
        arrived = 0
        while (arrived := arrived + experiment.random.randint(1, EVERY)) < count:
            experiment.receiver.wait_for(arrived, PATIENCE)
            experiment.kill(experiment.random.choice(fleet))
        experiment.wait_until_ended()
        assert [process.stop() for process in fleet] == [0, 0]
    experiment.verify(failing=refused)
