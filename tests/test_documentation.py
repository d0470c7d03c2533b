"""What people read is true: settings, commands, texts and links."""

import re
import signal
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from click.testing import CliRunner

from at_worker import __version__
from at_worker.cli import main
from at_worker.cli.errors import Failed, WrongSettings
from at_worker.config import Settings, load, secret_variables, variables
from at_worker.engine import stop
from at_worker.executors.http_callback.executor import identity
from at_worker.retry import backoff
from tests.executors.email.mails import attempt
from tests.readme import README, ROOT, quoted, rows, section

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
DOCUMENTED = (*variables(), *secret_variables("NAME"))
SOURCE = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "at_worker").rglob("*.py")))
COMMANDS = [name for name, command in main.commands.items() if not command.hidden]
COMMAND_LINES = re.findall(r"(?:`|^)at-worker((?: (?:--)?[a-z][a-z-]*)*)(?:`|$)", README, re.MULTILINE)


def test_the_readme_lists_every_setting_and_nothing_else() -> None:
    expected = []
    for variable in DOCUMENTED:
        if variable.group:
            expected.append([f"**{variable.group}**", "", ""])
        default = f"`{variable.default}`" if variable.default else ""
        expected.append([f"`{variable.name}`", default, variable.meaning])
    assert rows("## Settings") == expected


def test_the_example_env_file_lists_every_setting_and_nothing_else() -> None:
    assert re.findall(r"^# (.*)\n#([A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE) == [
        (variable.meaning, variable.name, variable.default) for variable in DOCUMENTED
    ]
    assert len(re.findall(r"^#?\w+=", ENV_EXAMPLE, re.MULTILINE)) == len(DOCUMENTED)
    assert re.findall(r"^# (.*):\n$", ENV_EXAMPLE, re.MULTILINE) == [v.group for v in DOCUMENTED if v.group]


@pytest.mark.parametrize("text", [ENV_EXAMPLE, re.sub(r"^#(\w+=)", r"\1", ENV_EXAMPLE, flags=re.MULTILINE)])
def test_the_example_env_file_gives_the_defaults(text: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(text, encoding="utf-8")
    assert _ungiven(load({}, (path,))) == _ungiven(load({}, ()))


def _ungiven(settings: Settings) -> Settings:
    return replace(settings, given=frozenset())


def test_the_readme_lists_every_secret_that_may_come_from_a_file() -> None:
    assert set(re.findall(r"\b([A-Z_]+)_FILE\b(?=[=`])", section("### Secrets"))) - {
        "AT_SECRET_SHOP_SIGNING"
    } == {v.name for v in DOCUMENTED if v.secret}


@pytest.mark.parametrize(("column", "chance"), [(2, 0), (3, 1)])
def test_the_retry_window_is_that_of_the_defaults(column: int, chance: float) -> None:
    delays = load({}, ()).retry_delays
    table = rows("## Retries")
    attempts = range(2, len(table) + 1)
    waits = [backoff(number, delays, chance) for number in attempts]
    starts = accumulate(waits, initial=0.0)
    assert [row[1] for row in table] == ["", *(_spoken(backoff(number, delays, 0)) for number in attempts)]
    assert [row[column] for row in table] == [_spoken(start) or "0" for start in starts]


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


@pytest.mark.parametrize("line", sorted(set(COMMAND_LINES)))
def test_every_command_in_the_readme_exists(line: str) -> None:
    words = line.split()
    command = main.commands[words.pop(0)] if words and not words[0].startswith("-") else main
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(words) <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert any(line.split()[:1] == [name] for line in COMMAND_LINES)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_help_of_every_command_holds_an_example(name: str) -> None:
    output = CliRunner().invoke(main, [*filter(None, [name]), "--help"]).output
    assert re.search(rf"^ *Examples?:\n +(.* )?at-worker( {name})?( .*)?$", output, re.MULTILINE), output


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_target_of_make_exists(document: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(
        r"(?:`|^)make (\w+)", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE
    ):
        assert f"\n{target}: " in makefile


def test_the_exit_codes_are_those_of_the_code() -> None:
    documented = {int(code) for row in rows("## Exit codes") for code in row[0].split(",")}
    assert documented == {
        stop.EXIT_OK,
        Failed.exit_code,
        WrongSettings.exit_code,
        stop.EXIT_DATABASE,
        stop.EXIT_NO_THREADS,
        128 + signal.SIGINT,
        128 + signal.SIGTERM,
        128 + signal.SIGKILL,
    }


@pytest.mark.parametrize("text", [quoted(row[0])[0] for row in rows("## Log lines")])
def test_every_text_that_people_search_for_is_in_the_code(text: str) -> None:
    values = r"poller|claim(?= of tasks)|\.\.\.|\[7, 8\]|\d+|w-1|terminated|FIELD|HOST|WORKER_POLING_INTERVAL"
    for fixed in re.split(values, text):
        assert fixed in SOURCE


def test_the_readme_names_every_header_of_a_callback() -> None:
    (headers,) = (" ".join(row) for row in rows("## What receivers see") if row[0] == "HTTP headers")
    for name in identity(attempt()):
        assert f"`{name}" in headers


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(
        r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert next(heading for heading in headings if heading != "Unreleased") == __version__


def test_every_module_on_the_way_of_a_task_exists() -> None:
    modules = re.findall(
        r"^[ |]*(\S+\.py)|((?:engine|supervisor)/\S+\.py)", section("## The way of one task"), re.MULTILINE
    )
    assert modules
    for names in modules:
        assert (ROOT / "at_worker" / "".join(names)).exists()


def test_every_module_of_the_engine_and_the_supervisor_is_on_the_way_of_a_task() -> None:
    told = section("## The way of one task")
    for package in ("engine", "supervisor"):
        for path in (ROOT / "at_worker" / package).glob("*.py"):
            assert f"{package}/{path.name} " in told or path.read_text(encoding="utf-8").count("\n") == 1


def test_the_index_of_the_readme_leads_to_every_part_and_to_no_section_twice() -> None:
    index, _, _ = README.partition("\n---\n")
    anchors = re.findall(r"\]\(#([^)]+)\)", index)
    assert len(anchors) == len(set(anchors))
    parts = re.findall(r"^##? (.*)$", README, re.MULTILINE)[1:]
    assert {_anchor(part) for part in parts} - {"payloads"} <= set(anchors)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / document).read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        linked = ROOT / (path or document)
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


def _anchors(path: Path) -> set[str]:
    return {
        _anchor(heading)
        for heading in re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")
