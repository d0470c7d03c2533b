"""Worker processes that die."""

from contextlib import ExitStack

from tests.chaos.experiment import Experiment

TASKS = 1000
RATE = 300.0  # tasks a second
# Arrivals between two kills, about two seconds. A process that dies again within 5 s is started with a pause
# that grows up to half a minute: more kills would only leave nobody to be killed.
SELDOM, OFTEN = 900, 300
LONGEST_PAUSE = 60.0


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
        while (arrived := arrived + experiment.random.randint(OFTEN, SELDOM)) < count:
            experiment.receiver.wait_for(arrived, LONGEST_PAUSE)
            experiment.kill_one(experiment.random.choice(fleet))
        experiment.wait_until_ended()
        assert [process.stop() for process in fleet] == [0, 0]
    experiment.verify(failing=refused)
