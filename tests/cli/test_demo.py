from pathlib import Path

from tests.processes import command


def test_the_demo_shows_each_task_as_it_arrives_and_the_table_afterwards(tmp_path: Path) -> None:
    shown = command(
        tmp_path, "demo", DATABASE_URL="postgresql://of-somebody-else/", WORKER_TASK_TYPES="email"
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    arrivals = [line for line in shown.stdout.splitlines() if "  answered " in line]
    assert [line.split()[1] for line in arrivals if "attempt 1" in line] == [
        "/object",
        "/text",
        "/third-time-lucky",
        "/gone",
    ]
    assert [line.split("answered ")[1][:3] for line in arrivals if "/third-time-lucky" in line] == [
        "503",
        "503",
        "200",
    ]
    assert '{"order":42,"total":19.90}' in shown.stdout
    assert "a raw string, sent as it is" in shown.stdout
    assert shown.stdout.count(" ms late ") == 4
    afterwards = shown.stdout.partition("The table afterwards:")[2]
    assert afterwards.count(" completed ") == 3
    assert "HTTP 410" in afterwards
    assert not list(tmp_path.iterdir())
