"""SlyAPI as a project that depends on it has it: with its entry points, which a checkout has only once installed."""
from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def installed_at(folder: Path) -> dict[str, str]:
    """Writes what an installation of this checkout writes about itself; the environment of a Python that finds it."""
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / "slyapi.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.3\nName: SlyAPI\nVersion: {facts['version']}\n")
    entries = [f"{name} = {place}" for name, place in facts["entry-points"]["pytest11"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[pytest11]", *entries]))
    (info / "RECORD").write_text("SlyAPI/__init__.py,,\n")
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
