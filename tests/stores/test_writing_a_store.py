"""docs/writing-a-store.md: the store that it shows passes the contract tests as it shows them."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-store.md"
_SHOWN: dict[str, Any] = {"__name__": "shown"}
for block in re.findall(r"^```python \{(?:practice|contract)\}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S):
    exec(compile(block, str(PAGE), "exec"), _SHOWN)

TestTableStore = _SHOWN["TestTableStore"]
