"""How people drive it: `at-worker` alone is the worker, everything else a subcommand."""

import click

from at_worker import __version__
from at_worker.cli.at import at
from at_worker.cli.change import atrm, cancel, reschedule, retry
from at_worker.cli.check import check
from at_worker.cli.completion import completion
from at_worker.cli.demo import demo
from at_worker.cli.export import export
from at_worker.cli.importing import import_tasks
from at_worker.cli.init_db import init_db
from at_worker.cli.pause import pause, resume
from at_worker.cli.purge import purge
from at_worker.cli.run import run
from at_worker.cli.run_now import run_now
from at_worker.cli.show import show_task
from at_worker.cli.stats import show_stats
from at_worker.cli.tasks import atq, list_tasks
from at_worker.cli.why import why
from at_worker.cli.worker import worker

__all__ = ["main"]

EPILOG = """
\b
Example:
    DATABASE_URL=postgresql://at:secret@db/app at-worker

\b
Settings come from the environment, else from .env, else from /app/.env; .env.example lists them all.

\b
Exit codes: 0 all is well, 1 it could not be done or a check found something wrong, 2 a wrong setting or
argument, 3 the database refuses (login, schema, rights), 4 no thread is left that can be trusted,
128 + N ended by signal N.
"""

# In the order in which the help shows them.
SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Commands for tasks": (at, list_tasks, show_task, why, reschedule, cancel, retry, run_now, atq, atrm),
    "Commands for the whole table": (import_tasks, export, purge, pause, resume, show_stats),
    "Commands for workers": (run, worker, init_db, check, demo),
    "Commands for your shell": (completion,),
}


class _Sections(click.Group):
    """A group whose help has a section for each kind of people."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.list_commands(ctx))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (f"{command.name:{width}}", command.get_short_help_str(formatter.width))
                        for command in commands
                        if not command.hidden
                    ]
                )


@click.group(
    cls=_Sections,
    invoke_without_command=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="at-worker")
@click.pass_context
def main(context: click.Context) -> None:
    """Run the rows of the PostgreSQL table scheduled_tasks at their time.

    Without a command it is the worker, the same as `at-worker run`, which has the options.
    """
    if context.invoked_subcommand is None:
        context.invoke(run)


for commands in SECTIONS.values():
    for command in commands:
        main.add_command(command)
