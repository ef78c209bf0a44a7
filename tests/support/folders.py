"""What a folder contains, without the lock files that stay in it."""
from __future__ import annotations

import os
from pathlib import Path


def listed(folder: Path | str = ".") -> list[str]:
    """The sorted names of all but lock files."""
    return sorted(name for name in os.listdir(folder) if not (name.startswith(".") and name.endswith(".lock")))
