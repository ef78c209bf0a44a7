"""The pages of the API reference: each public package is a page, each public name stands on one of them.

The rule: a name's home is the module that it reports itself (`OAuth2App.__module__` is `SlyAPI.oauth2`), so that a
link to `SlyAPI.oauth2.OAuth2App.exchange_code` stays valid when a file moves. Other packages that export it link there.
"""

import ast
import inspect
import pydoc
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any

PACKAGES = {
    "SlyAPI": "What most programs need.",
    "SlyAPI.oauth2": "One client at one provider, its users, and every way to a token.",
    "SlyAPI.oauth1": "The same for OAuth 1.0a.",
    "SlyAPI.webapi": "The base class of API clients.",
    "SlyAPI.auth": "How a request is authenticated.",
    "SlyAPI.web": "HTTP messages and JSON as plain data.",
    "SlyAPI.params": "Python values as query text.",
    "SlyAPI.stores": "Where tokens live between refreshes.",
    "SlyAPI.sources": "Where subject tokens and assertions come from.",
    "SlyAPI.paging": "How an API names its next page.",
    "SlyAPI.limits": "How many requests at once, and how fast.",
    "SlyAPI.retry": "Whether and when to try again.",
    "SlyAPI.errors": "Every error.",
    "SlyAPI.testing": "A provider to test against.",
    "SlyAPI.httpx": "Signs the requests of httpx.",
    "SlyAPI.httpx2": "Signs the requests of httpx2.",
    "SlyAPI.flow": "The wizards of the command line, as functions.",
    "SlyAPI.asyncy": "Names that SlyAPI 0.6 kept there.",
    "SlyAPI.service_account": "Names that SlyAPI 0.6 kept there.",
}

FURTHER = {
    "SlyAPI": ["SlyAPI.Answer"],
    "SlyAPI.oauth2": [
        *("SlyAPI.oauth2.messages.authorization_code.AuthorizationURL", "SlyAPI.oauth2.client.login.Login"),
        *("SlyAPI.oauth2.client.login_requests.LoginWishes", "SlyAPI.oauth2.client.providers.Provider"),
    ],
    "SlyAPI.oauth1": ["SlyAPI.oauth1.user.TemporaryCredentials"],
    "SlyAPI.webapi": [
        *("SlyAPI.webapi.verbs.SentOptions", "SlyAPI.transport.bodies.Readable"),
        *("SlyAPI.webapi.verbs.RequestOptions", "SlyAPI.webapi.webapi.Paging", "SlyAPI.transport.streaming.Streamed"),
    ],
    "SlyAPI.web": ["SlyAPI.web.secret_values.SecretJson"],
    "SlyAPI.testing": ["SlyAPI.testing.features.Features"],
}
"""Classes that only signatures name (a value of one is returned, or its keys are arguments), by their page."""


NOT_MADE_BY_USERS = {"SlyAPI.oauth2.BrowserConsent"}
"""Classes whose constructor is not shown, because a function gives the object."""


def names_of(module: ModuleType) -> list[str]:
    """The module's public names: those of `__all__`, otherwise the classes and functions that it defines."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    own = [name for name in own if inspect.isclass(vars(module)[name]) or inspect.isfunction(vars(module)[name])]
    return sorted(name for name in getattr(module, "__all__", own) if not name.startswith("_"))


def exports() -> Iterator[tuple[str, str, Any]]:
    """Package, name and value of everything public."""
    for package in PACKAGES:
        module = import_module(package)
        for name in names_of(module):
            yield package, name, getattr(module, name)


def home_of(package: str, name: str, value: Any) -> str:
    """The package on whose page the name is described."""
    itself = getattr(value, "__module__", None)
    if itself in PACKAGES and name in names_of(import_module(itself)):
        return str(itself)
    within = [other for other, same, found in exports() if same == name and found is value and other != "SlyAPI"]
    return next(iter(within), package)


@cache
def pages() -> dict[str, str]:
    """The text of each package's page (reStructuredText), by package."""
    found: dict[str, list[tuple[str, str, Any]]] = {package: [] for package in PACKAGES}
    for package, name, value in exports():
        found[package].append((home_of(package, name, value), name, value))
    return {package: _page(package, names) for package, names in found.items()}


def _page(package: str, names: list[tuple[str, str, Any]]) -> str:
    parts = [f"{package}\n{'=' * len(package)}\n\n{PACKAGES[package]}\n\n.. py:module:: {package}\n"]
    elsewhere = [(f"{home}.{name}", name, value) for home, name, value in names if home != package]
    if elsewhere:
        parts.append("Also importable from here:\n")
        parts += [
            f".. py:data:: {name}\n\n   :py:obj:`{full}`: {_summary(name, value)}\n" for full, name, value in elsewhere
        ]
    here = [(name, value) for home, name, value in names if home == package]
    if len(here) > 3:
        parts += [f"- :py:obj:`{name} <{package}.{name}>`: {_summary(name, value)}" for name, value in here] + [""]
    parts += [_directive(name, value) for name, value in here]
    further = FURTHER.get(package, ())
    if further:
        parts.append("Types that signatures name\n--------------------------\n")
        parts += [_directive(name, pydoc.locate(name)) for name in further]
    return "\n".join(parts) + "\n"


def _directive(name: str, value: Any) -> str:
    if inspect.isfunction(value):
        return f".. autofunction:: {name}\n"
    if not inspect.isclass(value) or isinstance(value, GenericAlias):
        text = " ".join(as_rst([_notes().get(name, "")])) or "As in its value."
        return f".. py:data:: {name}\n   :value: {_value(value)}\n\n   {text}\n"
    ancestors = value.__mro__[1:]
    described = [base for base in ancestors if base.__module__ in ("builtins", "enum") or base in described_classes()]
    listed = ", ".join(dict.fromkeys(base.__name__ for base in described))
    directive = f".. autoclass:: {name}\n   :members:\n   :inherited-members: {listed}\n"
    if is_dataclass(value) and name != "PracticeProvider":  # whose fields are the provider's inner state
        directive += "   :undoc-members:\n"  # the class describes its fields; each has its type and its address
    named = [base for base in value.__bases__ if base in described and base is not object]
    return f"{directive}   :show-inheritance:\n" if named else directive


def _summary(name: str, value: Any) -> str:
    """The first sentence of what describes it."""
    own = inspect.isfunction(value) or (inspect.isclass(value) and not isinstance(value, GenericAlias))
    text = inspect.cleandoc((vars(value).get("__doc__") if inspect.isclass(value) and own else value.__doc__) or "")
    return as_rst([" ".join((text if own else _notes().get(name, "a type.")).partition("\n\n")[0].split())])[0]


def _value(value: Any) -> str:
    spelt = re.sub(r"ForwardRef\('(\w+)'\)|(?:typing|collections\.abc)\.", lambda found: found[1] or "", str(value))
    return spelt if len(spelt) < 200 else "..."


@cache
def described_classes() -> set[type]:
    """The classes that have an entry of their own."""
    further = [pydoc.locate(name) for names in FURTHER.values() for name in names]
    return {value for value in [*further, *(value for _, _, value in exports())] if inspect.isclass(value)}


@cache
def _notes() -> dict[str, str]:
    """The text below each assignment of a module, by name: what a value that has no docstring is for."""
    found: dict[str, str] = {}
    for path in sorted(Path(import_module("SlyAPI").__file__ or "").parent.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for before, after in pairwise(body):
            if isinstance(before, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                names = [target.id for target in before.targets if isinstance(target, ast.Name)]
                found |= dict.fromkeys(names, " ".join(str(after.value.value).split()))
    return found


def as_rst(lines: list[str]) -> list[str]:
    """A docstring's Markdown as reStructuredText: code in backticks, nothing else special."""

    def escaped(text: str) -> str:
        return re.sub(r"(?<=\w)_(?!\w)|[*|\\]", lambda found: "\\" + found[0], text)

    def line_of(line: str) -> str:
        pieces = re.split(r"(`+[^`]+`+)", line)
        return "".join(f"``{piece.strip('`')}``" if piece.startswith("`") else escaped(piece) for piece in pieces)

    return [line_of(line) for line in lines]
