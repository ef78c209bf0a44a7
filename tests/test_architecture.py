"""The shape of the house: which wing may import which, what each may touch, how large it is. Reads the source only."""
from __future__ import annotations

import ast
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import pytest

import SlyAPI
import SlyAPI.flow
from tests import sizes

ROOT = Path(SlyAPI.__file__).parent
TESTS = Path(__file__).parent

# A wing is a package, or a file at the top, which is a public import path. Each may import the wings listed behind it,
# which all stand above it in this table; a new file in a wing needs no entry.
_WORDS = "errors names web"
_IO = f"{_WORDS} json_file tokens transport"
WINGS: dict[str, str] = {
    "errors": "",
    "names": "",
    "web": "errors names",
    "json_file": "errors web",
    "paging": _WORDS,
    "limits": _WORDS,
    "retry": _WORDS,
    "params": _WORDS,
    "transport": f"{_WORDS} json_file",
    "auth": f"{_WORDS} transport",
    "httpx": "errors web auth",
    "httpx2": "errors web auth",
    "tokens": f"{_WORDS} json_file",
    "redirect": _WORDS,
    "stores": _IO,
    "sources": f"{_WORDS} json_file transport",
    "oauth1": f"{_IO} auth",
    "oauth2": f"{_IO} auth stores redirect sources",
    "webapi": f"{_WORDS} json_file transport auth paging limits retry",
    "asyncy": "webapi",
    "service_account": "oauth2",
    "SlyAPI": "errors names limits retry stores auth webapi oauth1 oauth2",
    "testing": "errors names",
    "flow": f"{_IO} auth stores redirect oauth1 oauth2",
    "cli": f"{_IO} auth paging stores redirect oauth1 oauth2 webapi flow testing",
    "__main__": "cli",
}
OWN_ARROWS: dict[str, set[str]] = {
    "testing.pytest_plugin": {"SlyAPI"},  # makes a client as a program does, by the package's public names
}
"""What a single module may import beyond its wing's line. Nothing may import such a module: it stands at the top."""
SPEAKS = {"cli", "flow", "__main__"}
"""The wings that may print, prompt and exit."""
TOUCHES_THE_WORLD = {"json_file", "transport", "redirect", "stores", "testing", *SPEAKS}

IO_LIBRARIES = {
    *("aiohttp", "requests", "httpx", "urllib3", "http", "ftplib", "smtplib", "webbrowser"),
    *("socket", "socketserver", "ssl", "select", "selectors", "sqlite3", "subprocess", "fcntl"),
}
OPTIONAL_LIBRARIES = {
    *("redis", "asyncpg", "psycopg", "keyring", "jwt", "joserfc", "cryptography", "orjson", "httpx", "httpx2", "segno"),
    "tqdm",
    *("pytest", "hypothesis", "playwright"),
}
RANDOM_LIBRARIES = {"random", "secrets", "uuid"}
MAKES_SECRETS = {
    *("oauth2.messages.authorization_code", "oauth2.client.login", "oauth2.messages.client_assertion"),
    *("oauth2.messages.dpop", "oauth1.signature"),
    *("redirect.loopback", "transport.bodies", "stores.served", "stores.encrypted"),
}
"""Where secrets and unguessable names are made, apart from `flow` and `testing`."""
READS_THE_CLOCK = {
    *(("oauth2.client.client", "clock"), ("tokens.user", "from_json_obj"), ("oauth1.app", "_now")),
}
"""Where the time of day is read because a caller passed none."""


@dataclass
class Module:
    """One file of the package, as its syntax tree shows it."""

    name: str
    path: Path
    tree: ast.Module
    ours: set[str] = field(default_factory=set[str])
    at_import: set[str] = field(default_factory=set[str])
    within: set[str] = field(default_factory=set[str])

    @property
    def wing(self) -> str:
        return wing_of(self.name)

    @cached_property
    def calls(self) -> list[tuple[str, str]]:
        return list(calls(self.tree))


@cache
def house() -> dict[str, Module]:
    paths = {name_of(path): path for path in ROOT.rglob("*.py")}
    found = {name: Module(name, path, ast.parse(path.read_text("utf-8"))) for name, path in paths.items()}
    for module in found.values():
        read_imports(module, module.tree, lazy=False)
    return found


def name_of(path: Path) -> str:
    parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
    return ".".join(parts) or "SlyAPI"


def wing_of(name: str) -> str:
    return name.partition(".")[0]


def read_imports(module: Module, node: ast.AST, *, lazy: bool) -> None:
    """Notes what `node` imports: ours, of others at import, and of others in functions or for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and (child.level or (child.module or "").startswith("SlyAPI")):
            module.ours |= set(targets(module, child))
        elif isinstance(child, ast.ImportFrom):
            (module.within if lazy else module.at_import).add(str(child.module))
        elif isinstance(child, ast.Import):
            (module.within if lazy else module.at_import).update(alias.name for alias in child.names)
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        read_imports(module, child, lazy=lazy or for_types or function)


def targets(module: Module, node: ast.ImportFrom) -> Iterator[str]:
    if node.level:
        package = module.path.relative_to(ROOT).parent.parts
        start = package[: len(package) - node.level + 1]
        base = ".".join([*start, *([node.module] if node.module else [])])
    else:
        base = str(node.module).removeprefix("SlyAPI").lstrip(".")
    for alias in node.names:
        inner = f"{base}.{alias.name}".lstrip(".")
        file = ROOT.joinpath(*inner.split("."))
        yield inner if file.with_suffix(".py").exists() or file.is_dir() else base or "SlyAPI"


def all_modules() -> list[Module]:
    return [module for _, module in sorted(house().items())]


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def each_module(rule: Callable[[Module], None]) -> Callable[[], None]:
    """One test for all modules, which lists those that break the rule."""

    def test() -> None:
        broken: list[str] = []
        for module in all_modules():
            try:
                rule(module)
            except AssertionError as error:
                broken.append(f"{module.name}: {error}")
        assert not broken, "\n".join(broken)

    test.__name__ = rule.__name__
    return test


# --- the arrows ---


@each_module
def test_a_module_imports_only_from_its_wing_and_from_those_below(module: Module) -> None:
    assert module.wing in WINGS, f"add the wing {module.wing} to the table of this file"
    for other in module.ours:
        may = {module.wing, *WINGS[module.wing].split(), *OWN_ARROWS.get(module.name, ())}
        assert wing_of(other) in may, f"{module.name} may not import {other}"
        assert other not in OWN_ARROWS, f"nothing may import {other}"


def test_every_arrow_of_the_table_points_down() -> None:
    above: set[str] = set()
    for wing, below in WINGS.items():
        assert set(below.split()) <= above, f"{wing} may only import wings that stand above it in the table"
        above.add(wing)


def test_the_rule_itself_catches_an_import_that_points_up() -> None:
    path = ROOT / "oauth2" / "messages" / "authorization_code.py"
    text = "def f():\n    from ... import flow\n    from ..signers.signer import x"
    module = Module("oauth2.messages.authorization_code", path, ast.parse(text))
    read_imports(module, module.tree, lazy=False)
    assert module.ours == {"flow", "oauth2.signers.signer"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"circle: {' -> '.join([*above, name])}"
        if name in done or name not in house():
            return
        for other in sorted(house()[name].ours):
            visit(other, (*above, name))
        done.add(name)

    for name in house():
        visit(name, ())


def test_the_practice_provider_shares_no_code_with_the_client() -> None:
    apart = {
        "testing": {"names"},  # imports on demand, and does nothing else
        "testing.store_contract": {"errors"},  # tests for errors that a store of ours raises
        **OWN_ARROWS,  # the fixtures, which the provider does not import
    }
    for module in all_modules():
        others = {wing_of(name) for name in module.ours} - {module.wing}
        if module.wing == "testing":
            assert others <= apart.get(module.name, set()), module.name
        elif module.wing != "cli":
            assert "testing" not in others, module.name


def test_the_list_of_the_package_reads_as_a_feature_list() -> None:
    of_tools = {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    entries = {path.name for path in ROOT.iterdir()} - of_tools
    assert entries <= {f"{wing}.py" for wing in WINGS} | set(WINGS)
    assert len(entries) <= 24


# --- what a wing may touch ---


@each_module
def test_the_world_is_touched_only_where_that_is_the_purpose(module: Module) -> None:
    if module.wing not in TOUCHES_THE_WORLD and module.name != "webapi.download":  # which writes its file
        assert not roots(module.at_import) & IO_LIBRARIES, f"{module.name} does IO"


@each_module
def test_values_wait_for_nothing_and_log_nothing(module: Module) -> None:
    if module.wing in ("tokens", "web") and module.name != "web.events":
        touched = roots(module.at_import | module.within)
        assert not touched & ({"asyncio", "os", "logging", "threading", "pathlib", "tempfile", "shutil"} | IO_LIBRARIES)


@each_module
def test_an_optional_library_is_imported_only_when_it_is_used(module: Module) -> None:
    if module.name != "testing.store_contract" and "pytest" not in module.name:  # loaded by pytest alone
        assert not roots(module.at_import) & OPTIONAL_LIBRARIES


@each_module
def test_randomness_is_only_where_a_secret_is_made(module: Module) -> None:
    touched = roots(module.at_import | module.within) & RANDOM_LIBRARIES
    if module.name == "retry":
        return  # how long a pause is may be guessed
    assert "random" not in touched, "nothing here is fit to be guessed"
    if module.wing not in {"testing", *SPEAKS} and module.name not in MAKES_SECRETS:
        assert not touched


def calls(tree: ast.AST, function: str = "") -> Iterator[tuple[str, str]]:
    """`(function it stands in, what is called)` for every call, and `raise` as a call of the error's name."""
    for child in ast.iter_child_nodes(tree):
        inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(child, ast.Call):
            yield inner, ast.unparse(child.func)
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Name):
            yield inner, child.exc.id
        yield from calls(child, inner)


@each_module
def test_only_the_command_line_and_flow_print_prompt_or_exit(module: Module) -> None:
    if module.wing in SPEAKS:
        return
    called = {name for _, name in module.calls}
    assert not called & {"print", "input", "exit", "quit", "breakpoint", "sys.exit", "os._exit", "SystemExit", "pprint"}
    spoken = {ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    assert not spoken & {"sys.stdout", "sys.stderr", "sys.stdin", "sys.argv"}


@each_module
def test_the_clock_is_an_argument(module: Module) -> None:
    if module.wing in SPEAKS:
        return
    clocks = {"time.time", "time.monotonic", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    asked = {(module.name, function) for function, name in module.calls if name in clocks}
    assert asked <= READS_THE_CLOCK


@each_module
def test_no_except_catches_everything(module: Module) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{module.name}:{node.lineno} has a bare except"


# --- files ---


def test_files_are_named_for_what_a_user_would_ask_for() -> None:
    for path in [*ROOT.rglob("*.py"), *TESTS.rglob("*.py")]:
        assert path.stem not in {"utils", "util", "helpers", "helper", "base", "manager", "common", "misc"}


@each_module
def test_a_module_says_what_it_is_for(module: Module) -> None:
    assert ast.get_docstring(module.tree) or not module.path.read_text("utf-8").strip()


# --- budgets: `python -m tests.sizes` prints the figures ---

BUDGETS = {"lines of src": 27_000, "lines of tests": 50_000, "inner imports, %": 20, "loose tests": 8}
"""What is counted once: lines of Python, test files that import a module which no page shows, test files in tests/."""

NOT_YET = {
    "lines of src": 33_899,
    "lines of tests": 67_832,
    "inner imports, %": 36,
    # functions over 45 lines
    "oauth2/client/app.py::exchange_code": 47,
    "oauth2/client/client.py::_send": 48,
    # files over 400 lines
}
"""What does not hold yet, and how large it may be until it does. This table only shrinks: no row is added, no number
rises, and a row whose budget holds is taken out."""


def over_budget() -> dict[str, int]:
    """What is larger than its budget, and how large."""
    counted = {
        "lines of src": sizes.src_lines(),
        "lines of tests": sizes.test_lines(),
        "inner imports, %": round(100 * sizes.share_of_inner_imports()),
        "loose tests": len(sizes.loose_tests()),
    }
    over = {name: figure for name, figure in counted.items() if figure > BUDGETS[name]}
    rooms = {name: files for name, (files, _) in sizes.full_rooms().items()}
    return {**over, **sizes.long_functions(), **sizes.long_files(), **rooms}


def test_everything_is_within_its_budget_or_in_the_table_of_what_is_not_yet() -> None:
    grown = {name: figure for name, figure in over_budget().items() if figure > NOT_YET.get(name, 0)}
    assert not grown, "over budget: see `python -m tests.sizes`"


def test_the_table_of_what_is_not_yet_within_its_budget_only_shrinks() -> None:
    assert not NOT_YET.keys() - over_budget().keys(), "these hold now: take their rows out"


# --- public names ---

OF_0_6 = {
    *("WebAPI", "OAuth2", "OAuth2App", "OAuth2User", "UrlApiKey", "HeaderApiKey", "AsyncLazy", "AsyncTrans"),
    *("OAuth1", "OAuth1App", "OAuth1User", "OAuth2ServiceAccount", "requires_scopes"),
}
USERS_OWN = {
    *("datetime", "date", "timedelta", "timezone", "json", "csv", "re", "os", "sys", "asyncio", "base64", "inspect"),
    *("warn", "Enum", "Any", "TypeVar", "dataclass", "asdict", "cast", "TypedDict", "Literal", "Path", "time"),
    *("aiohttp", "Scope", "ScopeSimple", "main"),
}
STARRED = ["", ".web", ".webapi", ".auth", ".oauth1", ".oauth2", ".asyncy", ".params", ".flow"]


def starred(module: str) -> set[str]:
    names: dict[str, object] = {}
    exec(f"from {module} import *", names)
    return names.keys() - {"__builtins__"}


def test_all_lists_every_public_name() -> None:
    public = {
        name
        for name in dir(SlyAPI)
        if not name.startswith("_") and not isinstance(getattr(SlyAPI, name), types.ModuleType)
    }
    assert public > set(SlyAPI.__all__)
    assert starred("SlyAPI") == set(SlyAPI.__all__)  # `Limits` and the like are imported by name
    assert len(SlyAPI.__all__) == len(set(SlyAPI.__all__))
    assert public >= OF_0_6


@pytest.mark.parametrize("module", [f"SlyAPI{name}" for name in STARRED])
def test_a_star_import_brings_the_listed_names_and_hides_none_of_the_users(module: str) -> None:
    brought = starred(module)
    assert brought == set(sys.modules[module].__all__)
    assert not brought & USERS_OWN


def test_importing_the_package_loads_neither_the_command_line_nor_an_optional_library() -> None:
    code = "import sys, SlyAPI; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = ran.stdout.split()
    assert not [name for name in loaded if name.startswith(("SlyAPI.flow", "SlyAPI.testing", "SlyAPI.cli"))]
    assert not roots(set(loaded)) & OPTIONAL_LIBRARIES
