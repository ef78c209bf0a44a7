"""Module-level state of SlyAPI, apart for each simulated program.

The rule: what one process could not see of another, one world does not see of another. Each world has its own
copy of the package: the same source, imported under another name (the package imports itself by relative names
only), so its locks, caches, registries and `ContextVar` objects are objects of that copy. After a run, every
mutable module-level object gets back the content that it had after the import. The copy's modules have the
world's own `os`, `open` and `fcntl` in the place of the system's, and functions that the package registers with
`atexit` are collected, so that the end of a program can run them.
"""

import asyncio
import atexit
import builtins
import contextlib
import copy
import importlib
import importlib.util
import os
import pkgutil
import sys
import time
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import SlyAPI
import SlyAPI.oauth1
import SlyAPI.oauth2
import SlyAPI.stores
import SlyAPI.web  # `dataclass` looks up the module that a class names as its own

_CONTAINERS = (dict, list, set, weakref.WeakSet, weakref.WeakKeyDictionary, weakref.WeakValueDictionary)


@contextlib.contextmanager
def _virtual_clocks() -> Iterator[None]:
    """What takes a clock as a default while it is imported takes the one of the running loop's world."""
    real = time.time, time.monotonic

    def wall() -> float:
        world = getattr(asyncio._get_running_loop(), "world", None)
        return real[0]() if world is None else world.clock()

    def monotonic() -> float:
        loop = asyncio._get_running_loop()
        return real[1]() if not hasattr(loop, "world") else loop.time()  # type: ignore[union-attr]

    with mock.patch.object(time, "time", wall), mock.patch.object(time, "monotonic", monotonic):
        yield


class Package:
    """One copy of the package, for one world at a time. `sly.errors`, `sly.stores` and so on are its modules."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"{SlyAPI.__name__}_of_world_{number}"
        self.at_exit: list[Callable[[], Any]] = []
        with mock.patch.object(atexit, "register", self._register), _virtual_clocks():
            self.sly: Any = self._import()
        self._seams = list(self._modules_with("os", os))
        self._opening = [module for module, _ in self._seams]
        self._locking = [module for module in self._modules() if hasattr(module, "fcntl")]
        self._state = list(self._mutable())

    def _register(self, function: Callable[[], Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
        self.at_exit.append(lambda: function(*args, **kwargs))
        return function

    def _import(self) -> types.ModuleType:
        folder = next(iter(SlyAPI.__path__))
        spec = importlib.util.spec_from_file_location(
            self.name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = package
        spec.loader.exec_module(package)
        for found in pkgutil.walk_packages([folder], f"{self.name}."):
            if not found.name.endswith("__main__"):
                with contextlib.suppress(ImportError):  # of an extra
                    importlib.import_module(found.name)
        return package

    def _modules(self) -> list[types.ModuleType]:
        return [module for name, module in sorted(sys.modules.items()) if name.startswith(self.name + ".")]

    def _modules_with(self, name: str, value: object) -> Iterator[tuple[types.ModuleType, str]]:
        for module in self._modules():
            if vars(module).get(name) is value:
                yield module, name

    def use_disk(self, fake_os: Any, fake_open: Any, fake_fcntl: Any) -> None:
        """Puts a simulated disk under the package; `restore` takes it away."""
        for module, name in self._seams:
            setattr(module, name, fake_os)
            vars(module)["open"] = fake_open
        for module in self._locking:
            vars(module).setdefault("_real_fcntl", vars(module)["fcntl"])
            vars(module)["fcntl"] = fake_fcntl

    def restore(self) -> None:
        """Gives everything at module level the content that it had after the import, and the real disk back."""
        for held, content in self._state:
            _fill(held, content)
        for module, name in self._seams:
            setattr(module, name, os)
            vars(module)["open"] = builtins.open
        for module in self._locking:
            if "_real_fcntl" in vars(module):
                vars(module)["fcntl"] = vars(module)["_real_fcntl"]

    def _mutable(self) -> Iterator[tuple[Any, Any]]:
        """Each mutable object that a module of the copy holds by a global name, and its content now."""
        seen: set[int] = set()
        for module in self._modules():
            for name, value in list(vars(module).items()):
                if name.startswith("__") or id(value) in seen or isinstance(value, type | types.ModuleType):
                    continue
                seen.add(id(value))
                if type(value) in _CONTAINERS:
                    yield value, copy.copy(value)
                elif type(value).__module__.startswith(self.name) and hasattr(value, "__dict__"):
                    yield vars(value), {key: _copied(held) for key, held in vars(value).items()}


def _copied(value: Any) -> Any:
    return copy.copy(value) if type(value) in _CONTAINERS else value


def _fill(held: Any, content: Any) -> None:
    if not held and not content:
        return
    held.clear()
    if isinstance(held, list):
        held.extend(content)
    elif isinstance(held, dict):
        held.update({key: _copied(value) for key, value in content.items()})
    else:
        held.update(content)


_packages: list[Package] = []


def package(number: int) -> Package:
    """The copy for the world of that number: imported once for each process that simulates."""
    while len(_packages) <= number:
        _packages.append(Package(len(_packages)))
    return _packages[number]
