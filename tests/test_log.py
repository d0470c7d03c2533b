import json
import logging
import re
import threading
import time
from collections.abc import Iterator

import pytest

from at_worker import redact
from at_worker.log import about, configure, here
from at_worker.store.rows import Expired
from tests import logs
from tests.test_outcome import TASK

logger = logging.getLogger("at_worker.engine.example")


@pytest.fixture(autouse=True)
def restored_log() -> Iterator[None]:
    with logs.restored():
        yield


def written(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_text_line_tells_time_in_utc_level_and_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    configure("INFO", "text", "w-1")
    before = time.time()
    logger.info("Found %d tasks", 3)
    line = written(capsys)
    monkeypatch.undo()
    time.tzset()
    match = re.fullmatch(r"(\S+)\.\d{3}Z INFO    Found 3 tasks\n", line)
    assert match
    assert match[1] in {time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before + i)) for i in (0, 1)}


def test_a_json_line_is_an_object_with_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", "w-1")
    logger.warning("Task %d failed: %s", 7, 'a "quoted"\ntext ☃')
    line = written(capsys)
    assert line.count("\n") == 1
    told = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("time"))
    assert told == {"level": "WARNING", "message": 'Task 7 failed: a "quoted"\ntext ☃', "worker": "w-1"}


def test_a_json_line_names_the_task_that_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", "w-1")
    with about(Expired(7, "email", 2)), about(Expired(8, "rabbitmq", 1)):
        logger.info("x")
    told = json.loads(written(capsys))
    assert (told["worker"], told["task_id"], told["task_type"], told["attempt"]) == ("w-1", 8, "rabbitmq", 1)


def test_what_a_thread_logs_in_a_task_names_it_whoever_logs(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", "w-1")

    def run() -> None:
        here.subject = Expired(7, "email", 2)
        logging.getLogger("some.library").warning("x")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    logger.info("y")
    first, second = map(json.loads, written(capsys).splitlines())
    assert (first["task_id"], first["task_type"], first["attempt"]) == (7, "email", 2)
    assert "task_id" not in second


def test_a_traceback_in_json_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", "w-1")
    try:
        int("teatime")
    except ValueError:
        logger.exception("Surprise")
    line = written(capsys)
    assert line.count("\n") == 1
    traceback = json.loads(line)["traceback"].splitlines()
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1].endswith("'teatime'")


def test_a_traceback_in_text_follows_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "text", "w-1")
    try:
        int("teatime")
    except ValueError:
        logger.exception("Surprise")
    lines = written(capsys).splitlines()
    assert lines[0].endswith("ERROR   Surprise")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1].endswith("'teatime'")


def test_a_message_with_line_breaks_stays_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "text", "w-1")
    logger.info("Task 7 failed: %s", "a\r\n2030-01-01T00:00:00.000Z INFO forged\x1b[31m\u2028\x85")
    line = written(capsys)
    assert line.endswith(r"failed: a\r\n2030-01-01T00:00:00.000Z INFO forged\x1b[31m\u2028\x85" + "\n")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_lone_surrogate_is_no_obstacle(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json" if form == "json" else "text", "w-1")
    logger.info("name \udc80")
    assert "name " in written(capsys)


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("WARNING", ["warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_the_level_decides_what_is_told(
    level: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure(level, "text", "w-1")
    for name in ("debug", "info", "warning", "error"):
        logger.log(getattr(logging, name.upper()), name)
    assert [line.split()[-1] for line in written(capsys).splitlines()] == told


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_stands_in_a_line_nor_in_its_traceback(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    redact.learn(["hunter22"])
    configure("INFO", "json" if form == "json" else "text", "w-1")
    try:
        int("hunter22")
    except ValueError:
        with about(TASK._replace(context='{"k": "hunter22"}')):
            logger.exception("Surprise at %s", "https://u:p@x/?k=unlearned")
    told = written(capsys)
    assert "https://***@x/?k=***" in told
    assert "hunter22" not in told
    assert "unlearned" not in told
    assert "int() with base 10: '***'" in told


def test_a_line_that_cannot_be_formatted_shows_nothing_of_its_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("INFO", "text", "w-1")
    logger.info("%d", "hunter22")
    (line,) = written(capsys).splitlines()
    assert re.search(r"ERROR   a log line of \S+test_log\.py:\d+ cannot be written: TypeError$", line)


def test_what_nobody_caught_is_logged_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    redact.learn(["hunter22"])
    configure("INFO", "text", "w-1")
    thread = threading.Thread(target=int, args=("hunter22",))
    thread.start()
    thread.join()
    told = written(capsys)
    assert "CRITICAL Uncaught exception" in told
    assert told.endswith("ValueError: invalid literal for int() with base 10: '***'\n")


def test_libraries_speak_only_when_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    configure("DEBUG", "text", "w-1")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("trouble")
    assert [line.split()[-1] for line in written(capsys).splitlines()] == ["trouble"]
