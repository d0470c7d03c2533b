"""What to do, from the options of `at-worker at`: a task_type and its payload."""

from collections.abc import Mapping
from dataclasses import dataclass

from at_worker.cli.errors import WrongArgument
from at_worker.cli.output import say
from at_worker.config import Settings
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload, MissingSetting
from at_worker.text import one_line

_MESSAGE = frozenset({"data", "text", "headers", "members"})
# Which option makes a task of which type, and what goes along with it.
_PARTS = {
    "http": ("http_callback", _MESSAGE | {"method", "timeout", "bearer", "sign"}),
    "rabbitmq": ("rabbitmq", _MESSAGE),
    "exchange": ("rabbitmq", _MESSAGE | {"routing_key"}),
    "email": ("email", frozenset({"subject", "body", "attachments", "headers", "members"})),
    "task_type": ("", frozenset({"payload", "members"})),
}
_OPTIONS = {"task_type": "type", "headers": "header", "attachments": "attach", "members": "set"}


@dataclass(frozen=True, slots=True)
class What:
    """A task_type and its payload."""

    task_type: str
    payload: Json


def what(given: Mapping[str, Json]) -> What:
    """The task that the options describe. Raises WrongArgument where they do not fit together."""
    there = {name: value for name, value in given.items() if value not in (None, ())}
    kinds = [name for name in _PARTS if name in there]
    if len(kinds) != 1:
        every = ", ".join(map(_option, _PARTS))
        raise WrongArgument(f"say what to do with one of {every}" + (", not two" if kinds else ""))
    (kind,) = kinds
    task_type, parts = _PARTS[kind]
    for name in there:
        if name != kind and name not in parts:
            raise WrongArgument(f"{_option(name)} does not go with {_option(kind)}")
    if "data" in there and "text" in there:
        raise WrongArgument("give either --data or --text")
    payload = there.pop("payload", {})
    extra = there.pop("members", {})
    if kind == "task_type":
        task_type = str(there[kind])
    if not isinstance(payload, Mapping) or not isinstance(extra, Mapping):
        if extra:
            raise WrongArgument("--set goes with a --payload that is an object")
        return What(task_type, payload)
    return What(task_type, {**_payload(kind, there), **payload, **extra})


def check(settings: Settings, wanted: What, taken: frozenset[str] | None) -> None:
    """Refuse what every worker would refuse, as far as one can tell here. Raises WrongArgument.

    `taken` are the types that the workers take which are alive, None where the role may not know.
    """
    from at_worker.executors.registry import executor  # noqa: PLC0415 - other commands do without it

    with executor(settings, wanted.task_type) as known:
        if known is None:
            if taken and wanted.task_type not in taken:
                raise WrongArgument(
                    f"no worker that is alive runs {wanted.task_type}; they run {', '.join(sorted(taken))}"
                    " (--no-check inserts it all the same)"
                )
            say(f"The payload is not checked: {wanted.task_type} is not installed on this machine.", err=True)
            return
        try:
            known.parse(wanted.payload)
        except MissingSetting:
            return  # the workers may have what this shell lacks
        except InvalidPayload as error:
            raise WrongArgument(f"{error} (--no-check inserts it all the same)") from None
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            raise WrongArgument(
                f"the payload cannot be checked: {one_line(error)} (--no-check inserts it all the same)"
            ) from None


def _payload(kind: str, there: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    match kind:
        case "http":
            found["url"] = there["http"]
        case "rabbitmq":
            found["queue"] = there["rabbitmq"]
        case "exchange":
            found |= {"exchange": there["exchange"], "routing_key": there.get("routing_key", "")}
        case "email":
            found["to"] = _one_or_all(there["email"])
        case _:
            return found
    for name in ("method", "timeout", "headers", "subject", "body", "attachments", "data"):
        if name in there:
            found[name] = there[name]
    if "text" in there:
        found["data"] = there["text"]
    if "bearer" in there:
        found["auth"] = {"bearer": {"$secret": there["bearer"]}}
    if "sign" in there:
        found["sign"] = {"$secret": there["sign"]}
    return found


def _one_or_all(values: Json) -> Json:
    match values:
        case [one]:
            return one
        case [*every]:
            return every
        case _:
            return values


def _option(name: str) -> str:
    return f"--{_OPTIONS.get(name, name).replace('_', '-')}"
