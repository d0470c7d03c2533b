"""Receivers that are away, hang, or hang up in the middle, and payloads that no receiver ever sees."""

from random import Random

from tests.chaos.experiment import Experiment
from tests.processes import PATIENCE
from tests.servers.tcp_proxy import Proxy, proxy

TASKS = 400
EVERY = 40  # arrivals between two faults
MEGABYTE = 2**20
DEPTH = 5000  # beyond what Python's parser follows

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, retry_delays)
VALUES ('http_callback', %(payload)s::text::jsonb, '{0.1 s}') RETURNING id
"""
INSERT_MANY = """
INSERT INTO scheduled_tasks (task_type, payload, retry_delays, max_attempts, execute_at)
SELECT 'http_callback', jsonb_build_object('url', %(url)s::text, 'data', n, 'timeout', 1), '{0.2 s}', 100,
       now() + n * interval '1 s' / 200
  FROM generate_series(1, %(count)s) n
"""


def test_a_network_that_fails_again_and_again_costs_attempts_and_no_task(experiment: Experiment) -> None:
    count = int(TASKS * experiment.size)
    with proxy(("127.0.0.1", experiment.receiver.port)) as network, experiment.worker("w-1") as worker:
        url = f"http://127.0.0.1:{network.address[1]}/"
        with experiment.faults.lasting("the network to the receiver"):
            experiment.table.sql(INSERT_MANY, url=url, count=count)
            for arrived in range(EVERY, count, EVERY):
                experiment.receiver.wait_for(arrived, PATIENCE)
                _fail(network, experiment.random)
            experiment.wait_until_ended()
        assert worker.stop() == 0
    assert "Traceback" not in worker.log
    experiment.verify()


def _fail(network: Proxy, random: Random) -> None:
    match random.choice(["cut", "stop", "half_open", "lose_reply", "freeze"]):
        case "cut":
            network.cut()
        case "half_open":
            network.half_open()
        case "lose_reply":
            network.lose_reply(b"Idempotency-Key", reset=True)
        case "stop":
            network.stop()
            network.start()
        case "freeze":
            network.freeze()
            network.thaw()


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
