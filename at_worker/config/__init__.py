"""The settings of a worker."""

from at_worker.config.settings import Settings, Variable, variables
from at_worker.config.sources import DOTENV_FILES, ConfigError, load, unknown
from at_worker.config.values import LISTEN_OFF

__all__ = [
    "DOTENV_FILES",
    "LISTEN_OFF",
    "ConfigError",
    "Settings",
    "Variable",
    "load",
    "unknown",
    "variables",
]
