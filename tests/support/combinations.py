"""A part of all combinations in which every two values, or every three, still meet; chosen by a seed."""
from __future__ import annotations

import random
from collections.abc import Collection
from itertools import combinations, product
from typing import Any


def meeting(*axes: Collection[Any], of: int = 2, seed: int = 0) -> list[tuple[Any, ...]]:
    """Combinations of a value of each axis, such that any values of `of` axes are together in one of them."""
    choose = random.Random(seed)
    rows = list(product(*axes))
    choose.shuffle(rows)
    places = list(combinations(range(len(axes)), of))
    met: set[tuple[Any, ...]] = set()
    kept: list[tuple[Any, ...]] = []
    for least in range(len(places), 0, -1):  # first those that bring most that is new
        for row in rows:
            new = {(place, *(row[axis] for axis in place)) for place in places} - met
            if len(new) >= least:
                met |= new
                kept.append(row)
    return kept
