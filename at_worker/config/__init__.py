"""The settings of a worker."""

from at_worker.config.allowances import Address, Allowances, Network
from at_worker.config.settings import Settings, Variable, variables
from at_worker.config.signing import signing_keys
from at_worker.config.sources import DOTENV_FILES, ConfigError, load, unknown
from at_worker.config.values import LISTEN_OFF

__all__ = [
    "DOTENV_FILES",
    "LISTEN_OFF",
    "Address",
    "Allowances",
    "ConfigError",
    "Network",
    "Settings",
    "Variable",
    "load",
    "signing_keys",
    "unknown",
    "variables",
]
