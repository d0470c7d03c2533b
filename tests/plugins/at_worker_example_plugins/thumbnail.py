"""`thumbnail`: {"input_path": ..., "output_path": ..., "width": 300, "height": 300}."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from at_worker import Attempt, Done, Fail, InvalidPayload, Outcome, Retry


@dataclass(frozen=True, slots=True)
class Order:
    """Which image to scale, where to, and the box that it shall fit into, in pixels."""

    source: Path
    target: Path
    format: str
    width: int
    height: int


class Thumbnail:
    """Scales an image down to fit, keeping its proportions."""

    def parse(self, payload: object) -> Order:
        """Check everything that can be told without touching a file."""
        if not isinstance(payload, Mapping):
            raise InvalidPayload("payload", "must be an object")
        target = _path(payload, "output_path")
        image_format = Image.registered_extensions().get(target.suffix.lower())
        if image_format not in Image.SAVE:
            raise InvalidPayload("output_path", "does not end like an image file that can be written")
        return Order(
            source=_path(payload, "input_path"),
            target=target,
            format=image_format,
            width=_pixels(payload, "width"),
            height=_pixels(payload, "height"),
        )

    def execute(self, order: Order, attempt: Attempt) -> Outcome:
        """A missing file may still come; a file that is no image stays none."""
        del attempt  # scaling again gives the same file: nothing to tell a repetition by
        try:
            with Image.open(order.source) as image:
                scaled = ImageOps.exif_transpose(image)
        except FileNotFoundError:
            return Retry(f"{order.source} does not exist")
        except (UnidentifiedImageError, Image.DecompressionBombError):
            return Fail(f"{order.source} is not an image, or too large a one")
        scaled.thumbnail((order.width, order.height))
        _write(scaled.convert("RGB") if order.format == "JPEG" else scaled, order)
        return Done({"width": scaled.width, "height": scaled.height})

    def close(self) -> None:
        """Nothing is held between two tasks."""


def _write(image: Image.Image, order: Order) -> None:
    # Renaming is atomic: nobody ever sees half an image at the target.
    with tempfile.NamedTemporaryFile(
        dir=order.target.parent, prefix=f".{order.target.name}.", delete=False
    ) as file:
        partial = Path(file.name)
        try:
            image.save(file, order.format)
        except BaseException:
            partial.unlink()
            raise
    partial.chmod(0o644)
    partial.replace(order.target)


def _path(payload: Mapping[str, object], field: str) -> Path:
    value = payload.get(field)
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidPayload(field, "must be the path of a file")
    return Path(value)


def _pixels(payload: Mapping[str, object], field: str) -> int:
    value = 300 if payload.get(field) is None else payload[field]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000:
        raise InvalidPayload(field, "must be a whole number from 1 to 10000")
    return value
