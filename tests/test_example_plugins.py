import sys
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from PIL import Image
from psycopg.rows import TupleRow

from at_worker import Done, Fail, InvalidPayload, Outcome, Retry
from tests.executors.email.mails import attempt

# Found as a worker finds them.
PLUGINS = {point.name: point.load() for point in entry_points(group="at_worker.executors")}
Thumbnail, Analytics = PLUGINS["thumbnail"], PLUGINS["analytics"]


def scaled(source: Path, target: Path, **box: int) -> Outcome:
    plugin = Thumbnail()
    outcome: Outcome = plugin.execute(
        plugin.parse({"input_path": str(source), "output_path": str(target), **box}), attempt()
    )
    plugin.close()
    return outcome


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ({}, (300, 150)),
        ({"width": 100}, (100, 50)),
        ({"height": 20}, (40, 20)),
        ({"width": 1, "height": 1}, (1, 1)),
        ({"width": 5000, "height": 5000}, (600, 300)),
    ],
)
def test_an_image_is_scaled_to_fit_and_keeps_its_proportions(
    box: dict[str, int], size: tuple[int, int], tmp_path: Path
) -> None:
    Image.new("RGB", (600, 300), "red").save(tmp_path / "in.png")
    assert scaled(tmp_path / "in.png", tmp_path / "out.png", **box) == Done(
        {"width": size[0], "height": size[1]}
    )
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == size


def test_an_image_with_transparency_becomes_a_jpeg(tmp_path: Path) -> None:
    Image.new("RGBA", (10, 10)).save(tmp_path / "in.png")
    assert isinstance(scaled(tmp_path / "in.png", tmp_path / "out.jpg"), Done)
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.format == "JPEG"


def test_a_missing_file_may_still_come(tmp_path: Path) -> None:
    assert scaled(tmp_path / "in.png", tmp_path / "out.png") == Retry(f"{tmp_path}/in.png does not exist")


def test_a_file_that_is_no_image_fails(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_text("no image")
    assert isinstance(scaled(tmp_path / "in.png", tmp_path / "out.png"), Fail)


def test_an_image_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    Image.new("CMYK", (10, 10)).save(tmp_path / "in.jpg")
    with pytest.raises(OSError, match="cannot write mode CMYK as PNG"):
        scaled(tmp_path / "in.jpg", tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jpg"]


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("payload", None),
        ("payload", []),
        ("input_path", {"output_path": "b.png"}),
        ("input_path", {"input_path": "", "output_path": "b.png"}),
        ("input_path", {"input_path": "a\0", "output_path": "b.png"}),
        ("output_path", {"input_path": "a.png"}),
        ("output_path", {"input_path": "a.png", "output_path": 7}),
        ("output_path", {"input_path": "a.png", "output_path": "b.txt"}),
        ("width", {"input_path": "a.png", "output_path": "b.png", "width": 0}),
        ("width", {"input_path": "a.png", "output_path": "b.png", "width": "300"}),
        ("width", {"input_path": "a.png", "output_path": "b.png", "width": True}),
        ("height", {"input_path": "a.png", "output_path": "b.png", "height": Decimal("1.5")}),
        ("height", {"input_path": "a.png", "output_path": "b.png", "height": 10_001}),
    ],
)
def test_a_broken_thumbnail_payload_names_its_field(field: str, payload: object) -> None:
    with pytest.raises(InvalidPayload) as caught:
        Thumbnail().parse(payload)
    assert caught.value.field == field


@pytest.fixture
def events(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[TupleRow]]:
    """A database with the table that the plug-in's documentation describes."""
    monkeypatch.setenv("ANALYTICS_DSN", empty_dsn)
    ddl = (sys.modules[Analytics.__module__].__doc__ or "").partition("names:")[2]
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(ddl.encode())
        yield connection


def test_an_event_is_recorded(events: psycopg.Connection[TupleRow]) -> None:
    plugin, user_id, once = Analytics(), uuid4(), attempt()
    payload = {
        "event_name": "signup",
        "user_id": str(user_id),
        "payload": {"price": Decimal("1.10"), "n": [1, None]},
    }
    assert plugin.execute(plugin.parse(payload), once) == Done({"inserted": True})
    assert events.execute(
        "SELECT event_name, user_id, payload::text, occurred_at FROM analytics_events"
    ).fetchall() == [("signup", user_id, '{"n": [1, null], "price": 1.10}', once.scheduled_at)]


def test_an_event_is_recorded_once_however_often_it_is_tried(events: psycopg.Connection[TupleRow]) -> None:
    plugin, same = Analytics(), attempt()
    event = plugin.parse({"event_name": "signup"})
    assert plugin.execute(event, same) == Done({"inserted": True})
    assert plugin.execute(event, same) == Done({"inserted": False})
    assert events.execute("SELECT event_name, user_id, payload FROM analytics_events").fetchall() == [
        ("signup", None, None)
    ]


def test_an_event_without_a_database_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANALYTICS_DSN", raising=False)
    plugin = Analytics()
    assert plugin.execute(plugin.parse({"event_name": "signup"}), attempt()) == Retry(
        "ANALYTICS_DSN is not set"
    )
    plugin.close()


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("payload", "signup"),
        ("event_name", {}),
        ("event_name", {"event_name": ""}),
        ("event_name", {"event_name": 7}),
        ("user_id", {"event_name": "signup", "user_id": "ann"}),
        ("user_id", {"event_name": "signup", "user_id": 7}),
        ("user_id", {"event_name": "signup", "user_id": ""}),
    ],
)
def test_a_broken_event_names_its_field(field: str, payload: object) -> None:
    with pytest.raises(InvalidPayload) as caught:
        Analytics().parse(payload)
    assert caught.value.field == field
