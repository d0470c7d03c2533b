"""What is wrong with a template or its data, in one line that names the place."""

import traceback
from collections.abc import Mapping

from at_worker.executors.email.templates.allowance import TooMuch
from at_worker.executors.email.templates.sandbox import FILE, NotThere, TemplateError, TemplateSyntaxError
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload
from at_worker.text import clip, one_line

_LONGEST_REASON = 300


def fault(error: Exception, file: str, data: Mapping[str, Json] | None = None) -> InvalidPayload:
    """What a template did wrong, or what its data lack; `file` is the one that was asked for."""
    place = _place(error, file)
    if isinstance(error, NotThere) and data is not None:
        if error.is_variable and error.name in data:
            return InvalidPayload(
                "template", f"{place}: {error.name} is not seen there; import it with context"
            )
        path = "template_data" if error.is_variable else _path(data, error.owner)
        if path is not None:
            name = f"[{error.name}]" if isinstance(error.name, int) else f".{error.name}"
            return InvalidPayload(_short(path + name), f"is missing ({place})")
    return InvalidPayload("template", f"{place}: {_reason(error)}")


def _path(data: Mapping[str, Json], wanted: object) -> str | None:
    """Where in the data an object or array is."""
    waiting: list[tuple[str, Json]] = [("template_data", data)]
    while waiting:
        where, value = waiting.pop()
        match value:
            case dict() | list() if value is wanted:
                return where
            case dict():
                waiting += [(f"{where}.{name}", item) for name, item in value.items()]
            case list():
                waiting += [(f"{where}[{index}]", item) for index, item in enumerate(value)]
            case _:
                pass
    return None


def _place(error: Exception, file: str) -> str:
    """File and line of a template; just the file where no line is known."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name}, line {error.lineno}"
    places = [
        f"{frame.f_code.co_filename.removeprefix(FILE)}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.startswith(FILE)
    ]
    return places[-1] if places else file


def _reason(error: Exception) -> str:
    match error:
        case TemplateError(message=str(message)):
            return _short(message)
        case TooMuch():
            return str(error)
        case RecursionError():
            return "is nested too deeply, or part of itself"
        case _:
            return _short(one_line(error))


def _short(reason: str) -> str:
    return clip(" ".join(reason.split()), _LONGEST_REASON)
