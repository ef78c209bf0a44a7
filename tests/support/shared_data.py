"""Test vectors of others, which are not part of this repository: `shared/data` beside it, or where SHARED_DATA says."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")


def vectors(name: str) -> Any:
    """The value in a file of the folder; skips the test where the folder is not there."""
    if not FOLDER.is_dir():
        pytest.skip("shared/data is not beside the project")
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))
