"""What people see when a command cannot do its work: one line on stderr and an exit code."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from at_worker import redact
from at_worker.config import ConfigError, Settings, load, secret_values, unknown
from at_worker.embedded import EmbeddedError
from at_worker.engine.stop import EXIT_DATABASE, EXIT_SETTINGS
from at_worker.log import configure
from at_worker.store.database import Database
from at_worker.store.errors import Forbidden, Refused, Unavailable, Unusable
from at_worker.store.session import Session

logger = logging.getLogger(__name__)


class Failed(click.ClickException):
    """What was asked for could not be done, or is not well."""

    exit_code = 1


class WrongSettings(click.ClickException):
    """Settings that cannot be used."""

    exit_code = EXIT_SETTINGS


class WrongArgument(click.ClickException):
    """What was typed cannot be used; unlike click's own, in one line."""

    exit_code = EXIT_SETTINGS


class DatabaseRefuses(click.ClickException):
    """The database cannot be used."""

    exit_code = EXIT_DATABASE


def settings(*, warn: bool = True) -> Settings:
    """Load the settings and begin to log as they say. Raises WrongSettings.

    `warn` is False where another process has warned of typing mistakes.
    """
    try:
        loaded = load()
    except ConfigError as error:
        raise WrongSettings(str(error)) from None
    redact.learn(secret_values(loaded))
    configure(loaded.log_level, loaded.log_format, loaded.worker_id)
    for name, nearest in unknown().items() if warn else ():
        logger.warning("%s is no setting%s", name, f"; did you mean {nearest}?" if nearest else "")
    return loaded


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the database or the embedded server cannot do into DatabaseRefuses.

    The same for settings whose fault shows only when they are used: WrongSettings.
    """
    try:
        yield
    except ConfigError as error:
        raise WrongSettings(str(error)) from None
    except (Unavailable, Unusable, Refused, EmbeddedError) as error:
        raise DatabaseRefuses(redact.text(str(error))) from None


@contextmanager
def asking(given: Settings, *, needs: str) -> Iterator[Session]:
    """A session for one question or change, which a role with the rights of `needs` may ask or make."""
    with explained():
        try:
            with Database(given).direct() as session:
                yield session
        except Forbidden as error:
            raise DatabaseRefuses(
                f"{error.said}; that takes the rights of {needs}, which GRANT {needs} TO your role gives"
                " (at-worker init-db --roles makes it)"
            ) from None
