import pytest
from click import Command, Option

from at_worker import __version__
from at_worker.cli import main
from tests.cli.conftest import AtWorker

COMMANDS = [(name, command) for name, command in main.commands.items() if not command.hidden]


def test_these_are_the_commands() -> None:
    assert [name for name, _ in COMMANDS] == [
        *("at", "list", "show", "why", "reschedule", "cancel", "retry", "run-now", "atq", "atrm"),
        *("import", "export", "purge", "pause", "resume", "stats"),
        *("run", "init-db", "check", "demo", "completion"),
    ]


@pytest.mark.parametrize(("name", "command"), COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself_with_an_example(
    name: str, command: Command, option: str, at_worker: AtWorker
) -> None:
    told = at_worker(name, option)
    assert told.exit_code == 0
    assert f"at-worker {name}" in told.output.partition("Example")[2]
    assert "\b" not in told.output
    assert r"\b" not in told.output
    assert all(parameter.help for parameter in command.params if isinstance(parameter, Option))


def test_the_help_lists_the_commands_and_the_exit_codes(at_worker: AtWorker) -> None:
    told = at_worker("--help").output
    for name, command in COMMANDS:
        assert f"  {name} " in told
        assert command.get_short_help_str(100) in told
    assert "...\n" not in told.partition("Commands for tasks:")[2]
    for code in ("0 all is well", "1 it could not", "2 a wrong setting", "3 the database", "4 no thread"):
        assert code in told


def test_the_version_is_the_packages(at_worker: AtWorker) -> None:
    assert at_worker("--version").output == f"at-worker, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "--nonsense"], ["check", "nonsense"]])
def test_a_wrong_argument_ends_with_2(arguments: list[str], at_worker: AtWorker) -> None:
    assert at_worker(*arguments).exit_code == 2
