"""What templates can do: the one way into Jinja2."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from decimal import Decimal
from functools import partial, wraps
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import (
    TemplateError,
    TemplateNotFound,
    TemplateRuntimeError,
    TemplateSyntaxError,
    UndefinedError,
)
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from at_worker import jsontext
from at_worker.executors import fields
from at_worker.executors.email.templates.allowance import Allowance
from at_worker.executors.email.templates.folder import Absent, Folder, Unfit
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

__all__ = [
    "FILE",
    "NotThere",
    "Sandbox",
    "Template",
    "TemplateError",
    "TemplateNotFound",
    "TemplateSyntaxError",
    "allowance",
]

# Begins the file names of templates in a traceback.
FILE = "template "
# What an object has besides its members.
_METHODS = frozenset({"get", "items", "keys", "values"})

# Filters are not told what they work for, and one environment serves all threads.
allowance: ContextVar[Allowance] = ContextVar("allowance")


class NotThere(UndefinedError):
    """A template needs what is not there: a member of `owner`, or a variable."""

    def __init__(self, owner: object, name: object, message: str | None = None) -> None:
        super().__init__(message)
        self.owner = owner
        self.name = name

    @property
    def is_variable(self) -> bool:
        return self.owner is missing


class _Missing(StrictUndefined):
    """What is not there, with where it was looked for."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,  # noqa: ANN401 - it may be anything
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        super().__init__(hint, obj, name, exc)
        if hint is None:
            self._undefined_exception = partial(NotThere, obj, name)  # type: ignore[assignment]  # it is only called


class _Method(_Missing):
    """A method of an object: to be called, and otherwise a member that is not there."""

    __slots__ = ("bound",)

    def __init__(self, owner: Mapping[str, Json], name: str) -> None:
        super().__init__(obj=owner, name=name)
        self.bound = getattr(owner, name)


class _Loader(BaseLoader):
    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        del environment
        try:
            file = self._folder.read(template)
        except Absent as error:
            raise TemplateNotFound(template, str(error)) from None
        except Unfit as error:
            raise InvalidPayload("template", str(error)) from None
        return file.text, FILE + template, file.is_current


class _Metering(CodeGenerator):
    """Leads what can grow without a call or a filter through the environment: loops and `~`."""

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802 - Jinja2 names them after nodes
        turns = nodes.EnvironmentAttribute("turns", lineno=node.lineno)
        node.iter = nodes.Call(turns, [node.iter], [], None, None, lineno=node.lineno)
        node.iter.set_environment(self.environment)
        super().visit_For(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - the same
        self.write("environment.made(")
        super().visit_Concat(node, frame)
        self.write(")")


class Sandbox(ImmutableSandboxedEnvironment):
    """What templates can do: Jinja2's own, within an allowance, and with objects as JSON has them."""

    code_generator_class = _Metering
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, folder: Folder) -> None:
        super().__init__(
            loader=_Loader(folder),
            undefined=_Missing,
            finalize=_printable,
            autoescape=lambda name: name is None or not name.endswith(".txt"),
        )
        self.turns = _turns
        self.filters = {name: _metered(name, function) for name, function in self.filters.items()}
        self.policies["json.dumps_function"] = jsontext.render
        self.policies["json.dumps_kwargs"] = {}
        del self.globals["lipsum"]

    def join_path(self, template: str, parent: str) -> str:
        """Take a step for each include, import and parent, and keep what is not escaped out of HTML."""
        allowance.get().step()
        if template.endswith(".txt") and not parent.endswith(".txt"):
            raise TemplateRuntimeError(
                f"{template} is text, which is not escaped, and cannot be part of HTML"
            )
        return template

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - it may be anything
        """Look for a member first: `order.items` is what the data say, and not a method of Python's."""
        if not isinstance(obj, dict):
            return super().getattr(obj, attribute)
        if attribute in obj:
            return obj[attribute]
        return _Method(obj, attribute) if attribute in _METHODS else _Missing(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401 - the same
        """The same for `order["items"]`."""
        if isinstance(obj, dict) and isinstance(argument, str):
            return obj[argument] if argument in obj else _Missing(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the same
        """Call within the allowance."""
        if obj is _turns:
            return _turns(*args)
        if isinstance(obj, _Method):
            obj = obj.bound
        function = getattr(obj, "__wrapped__", obj)
        values = [getattr(function, "__self__", None), *args, *kwargs.values()]
        allowance.get().foresee(getattr(function, "__name__", ""), values)
        made = super().call(context, obj, *args, **kwargs)
        allowance.get().step([*values, made])
        return made

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 - the same
        """Calculate within the allowance, and with the digits that a template writes: `total * 1.19`."""
        match left, right:
            case Decimal(), float():
                right = Decimal(repr(right))
            case float(), Decimal():
                left = Decimal(repr(left))
            case _:
                pass
        allowance.get().foresee_operator(operator, left, right)
        return self.made(super().call_binop(context, operator, left, right))

    def made(self, value: Any) -> Any:  # noqa: ANN401 - the same
        """Count what was made."""
        allowance.get().step([value])
        return value

    def concat(self, parts: Iterable[str]) -> str:
        """Put together what a template, block or macro printed."""
        return "".join(map(_counted, parts))


def _counted(part: str) -> str:
    allowance.get().spend(len(part))
    return part


def _turns(items: Iterable[Any]) -> Iterator[Any]:
    return allowance.get().turns(items)


def _metered(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the same
        values = [*args, *kwargs.values()]
        allowance.get().foresee(name, values)
        made = function(*args, **kwargs)
        allowance.get().step([*values, made])
        return made

    return filtered


def _printable(value: Any) -> Any:  # noqa: ANN401 - the same
    """What `{{ }}` prints: "Dear None" and the looks of an object in Python are nothing for a mail."""
    match value:
        case Decimal():
            return format(value, "f")
        case (
            str() | int() | float() | Undefined()
        ):  # an `if` without its `else` is undefined, and prints nothing
            return value
        case None | dict() | list() | tuple():
            raise TemplateRuntimeError(f"would print {fields.kind(value)}")
        case _:
            raise TemplateRuntimeError(f"would print a {type(value).__name__}")
