"""docs/writing-a-store.md: the store that it shows passes the contract tests as it shows them."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from SlyAPI.testing.store_contract import ServedStoreContract

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-store.md"
_SHOWN: dict[str, Any] = {"__name__": "shown"}
for block in re.findall(r"^```python \{(?:practice|contract)\}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S):
    exec(compile(block, str(PAGE), "exec"), _SHOWN)


_TestTableStore: Any = _SHOWN["TestTableStore"]


class TestTheStoreOfThePage(_TestTableStore):  # type: ignore[misc]
    """With those tests for machines that ask for no lease which is renewed."""

    test_of_many_who_replace = ServedStoreContract.test_of_many_who_replace_the_same_at_once_one_does
    test_of_many_who_save_the_first = ServedStoreContract.test_of_many_who_save_the_first_at_once_one_does
