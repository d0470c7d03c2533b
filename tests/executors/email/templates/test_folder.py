import os
from pathlib import Path

import pytest

from at_worker import InvalidPayload
from at_worker.executors.email.templates.folder import LARGEST, Absent, Folder, Unfit
from at_worker.plugin import MissingSetting


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of templates, with something beside it that nobody may read."""
    (tmp_path / "secret.txt").write_text("hunter2")
    (tmp_path / "templates").mkdir()
    return tmp_path / "templates"


def test_a_file_is_read_by_its_name(place: Path) -> None:
    (place / "shop").mkdir()
    (place / "shop" / "paid.txt").write_text("Größe", encoding="utf-8")
    assert Folder(place).read("shop/paid.txt").text == "Größe"


def test_a_byte_order_mark_is_no_part_of_the_text(place: Path) -> None:
    (place / "a.txt").write_bytes(b"\xef\xbb\xbfhello")
    assert Folder(place).read("a.txt").text == "hello"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../secret.txt",
            "a/../../secret.txt",
            "/etc/passwd",
            "//etc/passwd",
            "..",
            ".",
            "",
            "/",
            "a//b.txt",
        ),
        *(
            "./a.txt",
            "a/./b.txt",
            "..\\secret.txt",
            ".hidden.txt",
            ".git/config",
            "a.txt/",
            "a\0.txt",
            "a.txt\0",
        ),
        *("nothing.txt", "a.txt/b.txt", "x" * 5000, "a/" * 5000 + "a", "C:\\a.txt", "~/a.txt", "a.txt\n"),
    ],
)
def test_no_name_leads_to_what_is_no_template(name: str, place: Path) -> None:
    (place / "a.txt").write_text("a")
    (place / ".hidden.txt").write_text("hidden")
    with pytest.raises(Absent):
        Folder(place).read(name)


def test_a_link_that_leads_out_is_not_followed(place: Path) -> None:
    (place / "file.txt").symlink_to(place.parent / "secret.txt")
    (place / "all").symlink_to(place.parent)
    for name in ("file.txt", "all/secret.txt"):
        with pytest.raises(Unfit, match=f"{name} leads out of SMTP_TEMPLATES"):
            Folder(place).read(name)


def test_a_neighbour_with_a_longer_name_is_outside(place: Path) -> None:
    beside = place.with_name("templates-old")
    beside.mkdir()
    (beside / "a.txt").write_text("old")
    (place / "a.txt").symlink_to(beside / "a.txt")
    with pytest.raises(Unfit, match="leads out"):
        Folder(place).read("a.txt")


@pytest.mark.parametrize("target", ["gone.txt", "a.txt"])
def test_a_link_that_leads_nowhere_is_told(target: str, place: Path) -> None:
    (place / "a.txt").symlink_to(target)
    with pytest.raises(Unfit, match="is a link that leads nowhere"):
        Folder(place).read("a.txt")


def test_links_inside_are_followed_as_in_a_mounted_config_map(place: Path) -> None:
    (place / "..2026_1").mkdir()
    (place / "..2026_1" / "a.txt").write_text("one")
    (place / "..data").symlink_to("..2026_1")
    (place / "a.txt").symlink_to("..data/a.txt")
    file = Folder(place).read("a.txt")
    assert file.text == "one"
    assert list(Folder(place).names()) == ["a.txt"]

    (place / "..2026_2").mkdir()
    (place / "..2026_2" / "a.txt").write_text("two")
    (place / "next").symlink_to("..2026_2")
    (place / "next").replace(place / "..data")
    assert not file.is_current()
    assert Folder(place).read("a.txt").text == "two"


def test_the_directory_may_be_a_link_that_is_switched(tmp_path: Path) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "a.txt").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("1")
    file = Folder(current).read("a.txt")
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").replace(current)
    assert not file.is_current()
    assert Folder(current).read("a.txt").text == "2"


def test_a_changed_and_a_removed_file_are_no_longer_current(place: Path) -> None:
    path = place / "a.txt"
    path.write_text("one")
    file = Folder(place).read("a.txt")
    assert file.is_current()
    os.utime(path, ns=(0, 0))
    assert not file.is_current()
    path.unlink()
    assert not file.is_current()


def test_what_is_no_text_file_is_told(place: Path) -> None:
    (place / "directory.txt").mkdir()
    os.mkfifo(place / "pipe.txt")
    (place / "latin.txt").write_bytes(b"Gr\xf6\xdfe")
    (place / "large.txt").write_bytes(bytes(LARGEST + 1))
    for name, why in (
        ("directory.txt", "is not a file"),
        ("pipe.txt", "is not a file"),
        ("latin.txt", "is not UTF-8"),
        ("large.txt", "is larger than 1,048,576 bytes"),
    ):
        with pytest.raises(Unfit, match=why):
            Folder(place).read(name)


def test_a_directory_that_is_away_may_come_back(place: Path) -> None:
    folder = Folder(place)
    place.rename(place.with_name("moved"))
    with pytest.raises(MissingSetting, match=r"SMTP_TEMPLATES: .* cannot be read: No such file or directory"):
        folder.read("a.txt")
    with pytest.raises(MissingSetting, match="cannot be read"):
        list(folder.names())
    assert not issubclass(MissingSetting, InvalidPayload)


def test_files_that_can_be_templates_are_named_and_no_others(place: Path) -> None:
    for name in ("b.txt", "a.html", "sub/c.subject.txt", "style.css", "b.txt~", ".d.txt", ".git/e.txt"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text("")
    assert list(Folder(place).names()) == ["a.html", "b.txt", "sub/c.subject.txt"]
