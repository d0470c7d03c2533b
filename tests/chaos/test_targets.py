"""Receivers that are away, hang, or hang up in the middle, and payloads that no receiver ever sees."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from math import ceil

import pytest

from tests.chaos.experiment import Experiment
from tests.chaos.targets import POSTPONED, Callbacks, Mails, Messages, Target
from tests.servers.rabbitmq import Broker, External
from tests.servers.smtp import smtp_server
from tests.servers.tcp_proxy import Proxy, proxy

FAULTS = 2
TASKS = 50  # for each of them
MANY_ATTEMPTS = 100
MEGABYTE = 2**20
DEPTH = 5000  # beyond what Python's parser follows

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, retry_delays)
VALUES ('http_callback', %(payload)s::text::jsonb, '{0.1 s}') RETURNING id
"""
COMPLETED = "SELECT count(*) FROM scheduled_tasks WHERE status = 'completed'"


@pytest.fixture
def callbacks(experiment: Experiment) -> Target:
    return Callbacks(experiment.receiver)


@pytest.fixture
def mails() -> Iterator[Target]:
    with smtp_server() as server:
        yield Mails(server)


@pytest.fixture
def messages(experiment: Experiment, broker: Broker | External) -> Iterator[Target]:
    queue = Messages(broker, experiment.table)
    with queue.declared():
        yield queue


@pytest.mark.parametrize("kind", ["callbacks", "messages", "mails"])
def test_a_receiver_that_fails_again_and_again_costs_attempts_and_no_task(
    kind: str, experiment: Experiment, request: pytest.FixtureRequest
) -> None:
    target: Target = request.getfixturevalue(kind)
    with proxy(target.address) as network:
        port = network.address[1]
        with experiment.worker("w-1", **target.settings(port)) as worker:
            with experiment.faults.lasting("the way to the receiver"):
                for fault in in_turns(target, network, experiment):
                    done = completed(experiment) + TASKS // 4
                    experiment.insert(target.task_type, target.payload(port), TASKS, 0.5, MANY_ATTEMPTS)
                    experiment.table.wait_for(lambda: completed(experiment) >= done, POSTPONED)  # noqa: B023
                    fault()
                experiment.wait_until_ended(POSTPONED)
            assert worker.stop() == 0
    assert "Traceback" not in worker.log
    target.tell(experiment.receiver.ledger)
    experiment.verify()


def completed(experiment: Experiment) -> int:
    return int(experiment.table.sql(COMPLETED)[0]["count"])


def in_turns(target: Target, network: Proxy, experiment: Experiment) -> Iterator[Callable[[], object]]:
    """All faults in random order, again and again."""
    faults: dict[str, Callable[[], object]] = {
        "cut": network.cut,
        "away": partial(_twice, network.stop, network.start),
        "half open": network.half_open,
        "frozen": partial(_twice, network.freeze, network.thaw),
        "reply lost": partial(network.lose_reply, target.marker, reset=True),
        **target.faults,
    }
    names = [name for name in faults if experiment.size > 1 or name not in target.patient]
    experiment.random.shuffle(names)
    return (faults[name] for name in islice(cycle(names), FAULTS * ceil(experiment.size)))


def _twice(begin: Callable[[], None], end: Callable[[], None]) -> None:
    begin()
    end()


def test_payloads_of_every_wrong_kind_fail_alone(experiment: Experiment) -> None:
    url = experiment.receiver.url
    wrong = [
        "null", "true", "7", '"text"', "[]", "{}", '{"url": null}', '{"url": 7}', '{"url": ["x"]}',
        '{"url": "ftp://127.0.0.1/"}', '{"url": "http://"}', '{"url": ""}', '{"url": {"a": 1}}',
        f'{{"url": "{url}", "method": 5}}', f'{{"url": "{url}", "headers": []}}',
        f'{{"url": "{url}", "timeout": "soon"}}', f'{{"url": "{url}", "timeout": 1e400}}',
        f'{{"url": "{url}", "auth": 1}}', f'{{"url": "{url}", "headers": {{"A": "b\\nc"}}}}',
        "[" * DEPTH + "]" * DEPTH, '{"url": ' + "9" * 5000 + "}", f'{{"url": "{"x" * (4 * MEGABYTE)}"}}',
    ]  # fmt: skip
    right = [
        f'{{"url": "{url}", "data": "{"x" * (8 * MEGABYTE)}"}}',
        f'{{"url": "{url}", "data": {"9" * 4000}}}',
        f'{{"url": "{url}", "data": {"[" * 500}{"]" * 500}}}',
    ]
    with experiment.worker("w-1") as worker:
        experiment.submit(20)
        failing = [experiment.table.sql(INSERT, payload=text)[0]["id"] for text in wrong]
        experiment.submit(20)
        for text in right:
            experiment.table.sql(INSERT, payload=text)
        experiment.wait_until_ended()
        assert worker.stop() == 0
    assert "Traceback" not in worker.log
    for task in failing:
        row = experiment.table.sql(
            "SELECT attempts, error_message FROM scheduled_tasks WHERE id = %(id)s", id=task
        )[0]
        assert (row["attempts"], bool(row["error_message"])) == (1, True)
    experiment.verify(failing=failing)
