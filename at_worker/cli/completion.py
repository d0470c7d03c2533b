"""`at-worker completion`: the Tab key, for bash, zsh and fish."""

from importlib.metadata import entry_points

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

PROGRAM = "at-worker"
VARIABLE = "_AT_WORKER_COMPLETE"

EXAMPLES = """
\b
Examples:
    at-worker completion bash > ~/.local/share/bash-completion/completions/at-worker
    eval "$(at-worker completion bash)"
    at-worker completion zsh > ~/.zfunc/_at-worker
    at-worker completion fish > ~/.config/fish/completions/at-worker.fish
"""


@click.command(epilog=EXAMPLES, short_help="Print what lets the Tab key complete commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets SHELL complete commands, options, files and the task types known here.

    `eval` it to try it; a file, as in the examples, is read by each new shell.

    The Tab key never asks the database: it would wait for it, and might need a password.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is not known")
    # Not that of bash, which asks another bash for its version.
    root = click.get_current_context().find_root().command
    click.echo(ShellComplete.source(kind(root, {}, PROGRAM, VARIABLE)))


def task_types(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The types that are known here; for `shell_complete` of click."""
    from at_worker.executors.registry import BUILT_IN, GROUP  # noqa: PLC0415 - others do without it

    names = {*BUILT_IN, *entry_points(group=GROUP).names}
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
