"""Writes docs/reference.md from the docstrings: `python docs/reference.py`.

The rule: every public name is on the page, in the words of its docstring; a test compares the page with the code.
"""

import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("reference.md")
PACKAGES = {
    "SlyAPI": "What most programs need.",
    "SlyAPI.oauth2": "One client at one provider, its users, and every way to a token.",
    "SlyAPI.oauth1": "The same for OAuth 1.0a.",
    "SlyAPI.webapi": "The base class of API clients.",
    "SlyAPI.auth": "How a request is authenticated.",
    "SlyAPI.web": "HTTP messages and JSON as plain data.",
    "SlyAPI.stores": "Where tokens live between refreshes.",
    "SlyAPI.sources": "Where subject tokens and assertions come from.",
    "SlyAPI.paging": "How an API names its next page.",
    "SlyAPI.limits": "How many requests at once, and how fast.",
    "SlyAPI.retry": "Whether and when to try again.",
    "SlyAPI.errors": "Every error; [Errors](errors.md) has them as a table.",
    "SlyAPI.testing": "A provider to test against; [Testing your program](testing-your-program.md) shows it.",
}
INTRODUCTION = """# API reference

Every public name, in the words of its docstring: shapes, units, errors raised, and the clause of the specification. The
page is made by `python docs/reference.py`. A name stands under the first package that has it. Parameters behind `*` are
given by name. Types are in the signatures, which editors and type checkers read.
"""


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as the code is now."""
    seen: set[int] = set()
    parts = [INTRODUCTION]
    for package, purpose in PACKAGES.items():
        parts.append(f"## {package}\n\n{purpose}\n")
        module = import_module(package)
        for name in sorted(names_of(module)):
            value = getattr(module, name)
            if id(value) not in seen and (inspect.isclass(value) or inspect.isfunction(value)):
                seen.add(id(value))
                parts += section(name, value)
    return "\n".join(parts)


def names_of(module: Any) -> list[str]:
    """The module's public names: those of `__all__`, else those that it defines."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return [name for name in getattr(module, "__all__", own) if not name.startswith("_")]


def section(name: str, value: Any) -> Iterator[str]:
    """A class with its methods, or a function."""
    yield f"### `{name}{parameters(value)}`\n\n{text_of(value)}\n"
    if not inspect.isclass(value):
        return
    for member, raw in members(value):
        inner = getattr(raw, "__func__", raw)
        if isinstance(raw, property):
            yield f"#### `{name}.{member}`\n\n{text_of(raw.fget)}\n"
        elif inspect.isfunction(inner):
            waits = "await " if inspect.iscoroutinefunction(inner) else ""
            yield f"#### `{waits}{name}.{member}{parameters(inner)}`\n\n{text_of(inner)}\n"


@cache
def public_classes() -> set[type]:
    """The classes that have a section of their own."""
    modules = map(import_module, PACKAGES)
    return {value for module in modules for name in names_of(module) if inspect.isclass(value := getattr(module, name))}


def members(value: type) -> list[tuple[str, Any]]:
    """The public methods and properties, with those of base classes that are not on the page themselves."""
    found: dict[str, Any] = {}
    for base in value.__mro__:
        if base is value or (base.__module__.startswith("SlyAPI") and base not in public_classes()):
            found = {**vars(base), **found}
    return [
        (name, raw)
        for name, raw in sorted(found.items())
        if not name.startswith("_") and (isinstance(raw, property | classmethod | staticmethod) or callable(raw))
        if text_of(raw.fget if isinstance(raw, property) else getattr(raw, "__func__", raw))
    ]


def parameters(value: Any) -> str:
    """The parameters without their types, and without `self`."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    shown = [
        each.replace(annotation=inspect.Parameter.empty, default=_default(each))
        for each in signature.parameters.values()
        if each.name not in ("self", "cls")
    ]
    return str(signature.replace(parameters=shown, return_annotation=inspect.Signature.empty))


class _Shown:
    """A default that is not a literal, as `...`."""

    def __repr__(self) -> str:
        return "..."


def _default(parameter: inspect.Parameter) -> Any:
    value = parameter.default
    literal = value is inspect.Parameter.empty or isinstance(value, str | int | float | bool | tuple | None)
    return value if literal and "object at" not in repr(value) else _Shown()


def text_of(value: Any) -> str:
    """The docstring, as one block of text."""
    own = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", "")
    return inspect.cleandoc(own or "")


if __name__ == "__main__":
    main()
