import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import AtWorker
from tests.processes import environment

PROGRAM = Path(sys.executable).with_name("at-worker")
# What bash does when the Tab key is pressed behind these words.
TAB = """
eval "$(at-worker completion bash)"
COMP_WORDS=(%s) COMP_CWORD=%d
_at_worker_completion at-worker
printf '%%s\\n' "${COMPREPLY[@]}"
"""


def tab(cwd: Path, *words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in words)
    path = f"{PROGRAM.parent}:/usr/bin:/bin"
    told = subprocess.run(
        ["bash", "--norc", "-c", TAB % (quoted, len(words) - 1)],  # noqa: S607 - the bash of this machine
        cwd=cwd,
        env=environment(PATH=path, DATABASE_URL="postgresql://at:hunter2@127.0.0.1:1/app"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stderr == ""
    return told.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], {"reschedule", "resume", "retry"}),
        (["purge", "--old"], {"--older-than"}),
        (["pause", "thumb"], {"thumbnail"}),
        (["export", "--type", "e"], {"email"}),
        (["list", "--type", "http"], {"http_callback"}),
        (["export", "--status", "c"], {"completed", "cancelled"}),
    ],
    ids=str,
)
def test_the_tab_key_of_bash_completes_without_a_database(
    words: list[str], offered: set[str], tmp_path: Path
) -> None:
    assert set(tab(tmp_path, "at-worker", *words)) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_that_asks_at_worker(shell: str, at_worker: AtWorker) -> None:
    told = at_worker("completion", shell)
    assert (told.exit_code, told.stderr) == (0, "")
    assert f"_AT_WORKER_COMPLETE={shell}_complete" in told.stdout


@pytest.mark.parametrize(("shell", "place"), [("zsh", "2"), ("fish", "--old")])
def test_what_the_script_of_a_shell_asks_for_is_answered(shell: str, place: str, tmp_path: Path) -> None:
    asked = {"_AT_WORKER_COMPLETE": f"{shell}_complete", "COMP_WORDS": "at-worker purge --old"}
    told = subprocess.run(
        [PROGRAM],
        cwd=tmp_path,
        env=environment(**asked, COMP_CWORD=place),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "--older-than" in told.stdout


def test_another_shell_is_one_that_is_not_known(at_worker: AtWorker) -> None:
    assert at_worker("completion", "tcsh").exit_code == 2
