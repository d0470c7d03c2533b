"""`at-worker init-db`: the schema."""

import click

from at_worker.cli.errors import explained, settings
from at_worker.store import admin
from at_worker.store.database import Database

EXAMPLE = """
\b
Examples:
    DATABASE_URL=postgresql://owner:secret@db/app at-worker init-db
    DATABASE_URL=postgresql://owner:secret@db/app at-worker init-db --roles
"""


@click.command("init-db", epilog=EXAMPLE, short_help="Create or upgrade the table.")
@click.option(
    "--roles",
    is_flag=True,
    help="Also create the roles at_producer, at_monitor, at_worker and at_owner with their rights.",
)
def init_db(roles: bool) -> None:
    """Create the table scheduled_tasks, or upgrade it in place; also the database where it is missing.

    It can be applied again and again, with data in the table.
    """
    given = settings()
    with explained():
        database = Database(given)
        admin.init_db(database)
        if roles:
            admin.grant_roles(database)
    click.echo(f"{database.name}: scheduled_tasks is ready, schema version {admin.SCHEMA_VERSION}")
