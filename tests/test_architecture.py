"""The shape of the house: which way imports point, and what each floor may touch. Reads the source, runs none of it."""
from __future__ import annotations

import ast
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

import SlyAPI
import SlyAPI.flow

ROOT = Path(SlyAPI.__file__).parent
TESTS = Path(__file__).parent

# Every module has a floor, and imports from its own floor and those that the floor may see, listed behind the arrow.
# A name with a star stands for all modules below it; the most exact name counts. Some rooms are yet to be built.
FLOORS: dict[str, tuple[str, str]] = {
    # floor: (its modules, the floors that it may see)
    "words": ("names errors events lazy web fast_json seldom params paging rate retry json_file asyncy answers", ""),
    "contract": ("auth", "words"),
    "protocol": (
        """oauth2.client_file oauth2.discovery oauth2.login oauth2.pkce oauth2.providers
        oauth2.revocation oauth2.token_endpoint oauth2.token_request oauth2.grants
        oauth2.grants.* oauth2.pushed_request oauth2.dpop
        oauth1.signature oauth1.grant rsa""",
        "words grants",
    ),
    # one user's grant as a value: pure, and below the stores, which give and take it
    "grants": ("oauth2.user oauth2.user_json oauth2.scopes oauth2.times oauth2.client_auth oauth1.user", "words"),
    "io": (
        """transport streaming bodies part_file per_loop turns loopback loopback_address loopback_http browser
        stores stores.*""",
        "words grants",
    ),
    "provider": ("oauth2.app oauth1.app", "words grants protocol io"),
    "credentials": (
        "service_account oauth2 oauth2.saving oauth2.flight oauth2.signer oauth2.service_account oauth1 oauth1.signer",
        "words contract grants protocol io provider",
    ),
    "api": ("patient_call limits webapi verbs signed_call page_walk download", "words contract io"),
    "names": ("SlyAPI", "words contract grants protocol io provider credentials api"),
    "practice": ("testing testing.*", ""),
    "judges": ("testing.store_contract", "words"),
    "people": (
        """flow flow.* cli commands arguments scaffold_command grant_command show_command token_commands chosen_user
        results __main__""",
        "words contract grants protocol io provider credentials api names practice",
    ),
}

IO_LIBRARIES = {
    *("aiohttp", "requests", "httpx", "urllib3", "http", "ftplib", "smtplib", "webbrowser"),
    *("socket", "socketserver", "ssl", "select", "selectors", "sqlite3", "subprocess", "fcntl"),
}
OPTIONAL_LIBRARIES = {
    *("redis", "asyncpg", "psycopg", "keyring", "jwt", "cryptography", "orjson"),
    *("pytest", "hypothesis", "playwright"),
}
RANDOM_LIBRARIES = {"random", "secrets", "uuid"}
MAKES_SECRETS = {
    *("oauth2.pkce", "oauth2.login", "oauth1.signature"),
    *("loopback", "bodies", "stores.served", "stores.encrypted"),
}
"""Where secrets and unguessable names are made, beside `flow` and `testing`."""
READS_THE_CLOCK = {
    *(("oauth2.app", "_clock"), ("oauth2.service_account", "refresh")),
    *(("oauth2.user", "from_json_obj"), ("oauth1.app", "_now")),
}
"""Where the time of day is asked for because a caller gave none."""
LONGEST_FILE, LONGEST_TEST = 450, 500


@dataclass
class Module:
    """One file of the package, as its syntax tree tells."""

    name: str
    path: Path
    tree: ast.Module
    ours: set[str] = field(default_factory=set[str])
    at_import: set[str] = field(default_factory=set[str])
    within: set[str] = field(default_factory=set[str])

    @property
    def floor(self) -> str:
        return floor_of(self.name)


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


@cache
def floor_of(name: str) -> str:
    places = {room: floor for floor, (rooms, _) in FLOORS.items() for room in rooms.split()}
    above = name.rpartition(".")[0]
    return places.get(name) or places.get(f"{above}.*") or ""


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


each_module = pytest.mark.parametrize("module", all_modules(), ids=lambda module: module.name)


# --- the arrows ---


@each_module
def test_a_module_imports_only_from_floors_it_may_see(module: Module) -> None:
    assert module.floor, f"give {module.name} a floor in this file's table"
    seen = {module.floor, *FLOORS[module.floor][1].split()}
    for other in module.ours:
        assert floor_of(other) in seen, f"{module.name} ({module.floor}) may not import {other} ({floor_of(other)})"


def test_the_rule_itself_catches_an_import_that_points_up() -> None:
    path = ROOT / "oauth2" / "pkce.py"
    module = Module("oauth2.pkce", path, ast.parse("def f():\n    from .. import transport\n    from .signer import x"))
    read_imports(module, module.tree, lazy=False)
    assert module.ours == {"transport", "oauth2.signer"}
    assert {floor_of(name) for name in module.ours} == {"io", "credentials"}


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


def test_protocol_and_io_never_import_each_other() -> None:
    for below, other in (("protocol", "io"), ("io", "protocol")):
        assert other not in FLOORS[below][1].split()


def test_errors_import_nothing_of_ours() -> None:
    assert house()["errors"].ours == set()


def test_a_stranger_judges_the_client() -> None:
    for module in all_modules():
        if module.floor == "practice":
            assert {floor_of(name) for name in module.ours} <= {"practice"}, module.name
        if module.floor not in ("practice", "judges", "people"):
            assert not any(name.startswith("testing") for name in module.ours), module.name


# --- what a floor may touch ---


@each_module
def test_the_world_is_touched_only_where_that_is_the_purpose(module: Module) -> None:
    if module.floor in ("io", "practice", "people"):
        return
    assert not roots(module.at_import) & IO_LIBRARIES, f"{module.name} opens the door to the world"
    if module.floor in ("words", "protocol"):
        assert not roots(module.within) & IO_LIBRARIES


@each_module
def test_pure_code_waits_for_nothing_and_logs_nothing(module: Module) -> None:
    if module.floor == "protocol":
        touched = roots(module.at_import | module.within)
        assert not touched & {"asyncio", "os", "logging", "threading", "pathlib", "tempfile", "shutil"}


@each_module
def test_an_optional_library_is_imported_only_when_it_is_used(module: Module) -> None:
    if module.floor not in ("practice", "judges"):  # the pytest plugin is loaded by pytest
        assert not roots(module.at_import) & OPTIONAL_LIBRARIES
    for library in roots(module.within) & OPTIONAL_LIBRARIES:
        own_file = module.floor in ("io", "credentials", "practice", "judges") or module.name in ("rsa", "fast_json")
        assert own_file, f"{module.name} imports {library}"


@each_module
def test_randomness_is_only_where_a_secret_is_made(module: Module) -> None:
    touched = roots(module.at_import | module.within) & RANDOM_LIBRARIES
    if module.name == "retry":
        return  # how long a pause is may be guessed
    assert "random" not in touched, "nothing here is fit to be guessed"
    if module.floor not in ("people", "practice", "judges") and module.name not in MAKES_SECRETS:
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
def test_nothing_below_the_people_floor_prints_prompts_or_exits(module: Module) -> None:
    if module.floor == "people":
        return
    called = {name for _, name in calls(module.tree)}
    assert not called & {"print", "input", "exit", "quit", "breakpoint", "sys.exit", "os._exit", "SystemExit", "pprint"}
    spoken = {ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    assert not spoken & {"sys.stdout", "sys.stderr", "sys.stdin", "sys.argv"}


@each_module
def test_the_clock_is_an_argument(module: Module) -> None:
    if module.floor == "people":
        return
    clocks = {"time.time", "time.monotonic", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    asked = {(module.name, function) for function, name in calls(module.tree) if name in clocks}
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


def test_a_file_can_be_read_at_one_sitting() -> None:
    tests = [path for path in TESTS.rglob("*.py") if "node_modules" not in path.parts]
    for paths, longest in ((list(ROOT.rglob("*.py")), LONGEST_FILE), (tests, LONGEST_TEST)):
        lengths = {str(path): len(path.read_text("utf-8").splitlines()) for path in paths}
        assert {name: length for name, length in lengths.items() if length > longest} == {}


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
STARRED = ["", ".web", ".webapi", ".auth", ".oauth1", ".oauth2", ".asyncy", ".lazy", ".flow"]


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
    assert public == set(SlyAPI.__all__)
    assert len(SlyAPI.__all__) == len(set(SlyAPI.__all__))
    assert public >= OF_0_6


@pytest.mark.parametrize("module", [f"SlyAPI{name}" for name in STARRED])
def test_a_star_import_brings_the_listed_names_and_hides_none_of_the_users(module: str) -> None:
    brought = starred(module)
    assert brought == set(sys.modules[module].__all__)
    assert not brought & USERS_OWN


def test_importing_the_package_loads_neither_the_people_floor_nor_an_optional_library() -> None:
    code = "import sys, SlyAPI; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = ran.stdout.split()
    assert not [name for name in loaded if name.startswith(("SlyAPI.flow", "SlyAPI.testing", "SlyAPI.cli"))]
    assert not roots(set(loaded)) & OPTIONAL_LIBRARIES
