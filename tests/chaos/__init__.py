"""A fault suite: real workers, a real PostgreSQL and real receivers, and everything that can go wrong.

A scenario is a test with the fixture `experiment` (see `experiment.py`). It inserts tasks, starts workers,
brings faults about and tells of each in `experiment.faults`, and ends with `experiment.verify()`, which
compares three records that know nothing of each other:

- `ledger.py`: every delivery, as its receiver saw it;
- `audit.py`: every change of every row, as a trigger of the test saw it, whoever made it;
- `faults.py`: what the scenario did to whom, and when.

`verdict.py` holds the rules, pure functions of the three; `test_verdict.py` breaks each of them by hand.

    def test_a_storm(experiment: Experiment) -> None:
        tasks = experiment.submit(100)
        with experiment.worker("w-1") as worker:
            experiment.receiver.wait_for(10)
            experiment.kill_one(worker)         # tells `faults` who was killed and when
            experiment.wait_until_ended()
        experiment.verify()

What the frame cannot know, the scenario tells: `with experiment.faults.everywhere("the database is away"):`
around a fault of the database, `verify(failing=...)` for tasks that are to end as failed.

Randomness comes from `experiment.random`; a failure shows the seed, and --chaos-seed repeats it. A scenario
that can be made longer multiplies by `experiment.size` (--chaos-size, 1 by default). It waits for arrivals,
rows and log lines, never for time to pass.
"""
