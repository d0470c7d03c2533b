"""A database that sets for its sessions what no worker can use, while other things go wrong as well."""

from contextlib import ExitStack

from tests.chaos.experiment import KILL_SESSIONS, Experiment
from tests.processes import PATIENCE
from tests.store.test_applying import set_default
from tests.store.test_sessions import HOSTILE

RATE = 200  # tasks a second
# These would take away the triggers that make the record, fill the log, or leave no time to set them anew.
LEFT_OUT = ("session_replication_role", "statement_timeout", "lock_timeout", "client_min_messages")
SHORT = [
    "statement_timeout = '100ms'",
    "lock_timeout = '5ms'",
    "idle_session_timeout = '100ms'",
    "transaction_timeout = '100ms'",
    "client_encoding = 'SQL_ASCII'",
]


def test_hostile_settings_change_nothing_under_load(experiment: Experiment) -> None:
    known = {row["name"].lower() for row in experiment.table.sql("SELECT name FROM pg_settings")}
    for setting in [*(given for given in HOSTILE if not given.startswith(LEFT_OUT)), *SHORT]:
        if setting.split()[0].lower() in known:
            set_default(experiment.table.dsn, setting)
    with ExitStack() as stack:
        workers = [stack.enter_context(experiment.worker(f"w-{n}")) for n in (1, 2)]
        for n in range(int(2 * experiment.size)):
            arrived = len(experiment.receiver.arrivals)
            experiment.submit(RATE, spread=1.0)
            experiment.submit(RATE // 10, "/fails/1", spread=1.0)
            experiment.receiver.wait_for(arrived + RATE // 2, PATIENCE)
            if n % 2:
                experiment.table.sql(KILL_SESSIONS)
            else:
                experiment.kill_one(workers[0])
        experiment.expect_work()
        experiment.wait_until_ended()
        assert [worker.stop() for worker in workers] == [0, 0]
    experiment.verify()
