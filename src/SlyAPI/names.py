"""A package's public names, each imported on first access (PEP 562).

The rule: a package's names are written twice, under `TYPE_CHECKING` for tools and in a table for the
interpreter; a test compares the two.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def on_demand(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: `places` are its modules, and the names that each provides.

    A module elsewhere in the library is written relative to the package: `..errors`.
    The modules themselves are attributes too. After its first access a name is a plain attribute.
    """
    homes = {name: module for module, names in places.items() for name in names.split()}

    def get(name: str) -> Any:
        here = sys.modules[package]
        if name in homes:
            home = homes[name]
            value = getattr(import_module(home if home.startswith(".") else f".{home}", package), name)
            setattr(here, name, value)
            return value
        if name in places:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=here)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *(place for place in places if not place.startswith("."))})

    return get, names
