"""The settings of a worker."""

from at_worker.config.allowances import Address, Allowances, Network
from at_worker.config.known import secret_values
from at_worker.config.secrets import Secret, is_name
from at_worker.config.settings import Settings, Variable, secret_variables, variables
from at_worker.config.signing import signing_keys
from at_worker.config.sources import DOTENV_FILES, ConfigError, is_setting, load, unknown
from at_worker.config.telemetry import Telemetry
from at_worker.config.values import LISTEN_OFF, is_loopback

__all__ = [
    "DOTENV_FILES",
    "LISTEN_OFF",
    "Address",
    "Allowances",
    "ConfigError",
    "Network",
    "Secret",
    "Settings",
    "Telemetry",
    "Variable",
    "is_loopback",
    "is_name",
    "is_setting",
    "load",
    "secret_values",
    "secret_variables",
    "signing_keys",
    "unknown",
    "variables",
]
