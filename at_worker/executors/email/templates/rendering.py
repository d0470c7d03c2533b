"""What becomes of a template and its data: what a mail says, or why it says nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from at_worker.executors.email.content import ENDINGS, Content
from at_worker.executors.email.templates.allowance import Allowance
from at_worker.executors.email.templates.faults import fault
from at_worker.executors.email.templates.folder import Folder
from at_worker.executors.email.templates.sandbox import (
    Sandbox,
    Template,
    TemplateNotFound,
    allowance,
)
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload, MissingSetting


class Templates:
    """The templates of one directory; a file that has changed is read anew."""

    def __init__(self, directory: str) -> None:
        self._folder = Folder(Path(directory))
        self._environment = Sandbox(self._folder)

    def render(self, name: str, data: Mapping[str, Json]) -> Content:
        """Make what a mail says. Raises InvalidPayload and MissingSetting."""
        with _an_allowance():
            made = {field: self._part(f"{name}{ending}", data) for field, ending in ENDINGS.items()}
        match made:
            case {"subject": str(subject), "body": str(body), "html": html}:
                return Content(subject.strip("\t\r\n "), body, html)
        lacking = next(name + ENDINGS[field] for field, text in made.items() if text is None)
        raise InvalidPayload("template", f"there is no {lacking} in SMTP_TEMPLATES")

    def problems(self) -> tuple[int, list[str]]:
        """How many files there are, and what is wrong with those that are no templates."""
        found = []
        names = list(self._folder.names())
        for name in names:
            try:
                with _an_allowance():
                    self._template(name)
            except InvalidPayload as problem:
                found.append(problem.why)
        return len(names), found

    def _part(self, file: str, data: Mapping[str, Json]) -> str | None:
        template = self._template(file)
        if template is None:
            return None
        try:
            return template.render(data)
        except (InvalidPayload, MissingSetting, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - what a template does wrong comes as any exception
            raise fault(error, file, data) from None

    def _template(self, file: str) -> Template | None:
        try:
            return self._environment.get_template(file)
        except TemplateNotFound:
            return None
        except (InvalidPayload, MissingSetting, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - the same
            raise fault(error, file) from None


@contextmanager
def _an_allowance() -> Iterator[None]:
    token = allowance.set(Allowance())
    try:
        yield
    finally:
        allowance.reset(token)
