"""Plug-ins for one test, offered as an installed package offers them."""

import os
from pathlib import Path


def offering(directory: Path, **executors: str) -> str:
    """Install executors (`task_type="module:Class"`) in this directory; returns a PYTHONPATH to them."""
    installed = directory / "offered-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1\n")
    points = "".join(f"{name} = {where}\n" for name, where in executors.items())
    (installed / "entry_points.txt").write_text(f"[at_worker.executors]\n{points}")
    return os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])
