"""What is imported when: modules counted, never time. `tests/bench/imports.py` says what they cost."""

import ast
import json
import os
import pickle
import signal
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import SlyAPI
from SlyAPI.cli.arguments import read_arguments
from SlyAPI.cli.commands import COMMANDS, FILES, plain_call
from SlyAPI.errors import SlyError

OPTIONAL = {"cryptography", "jwt", "keyring", "orjson", "redis", "asyncpg", "psycopg"}
NETWORK = {"aiohttp", "yarl", "multidict", "ssl", "socket", "asyncio", "sqlite3", "http", "email", "concurrent"}
DEAR = {"dataclasses", "inspect", "logging", "argparse", "shutil", "pathlib", "secrets", "hashlib", "getpass", "urllib"}
_LAZY_WINGS = ("oauth1", "oauth2", "flow", "stores", "testing", "web", "webapi")
LAZY_PACKAGES = ["SlyAPI", *(f"SlyAPI.{name}" for name in _LAZY_WINGS)]


def loaded(*words: str, allowed: tuple[int, ...] = (0,)) -> set[str]:
    """The first names of the modules that a Python loads which is called with `words`."""
    command = [sys.executable, "-S", "-X", "importtime", *words]
    # -S: what the environment's own .pth files load is no matter of ours
    path = os.pathsep.join(filter(None, sys.path))
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert ran.returncode in allowed, ran.stderr[-2000:]
    lines = [line for line in ran.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.fixture
def user_file(tmp_path: Path) -> str:
    path = tmp_path / "user.json"
    user = {"token": "tt", "refresh_token": "rr", "expires_at": "2030-01-01T00:00:00.000000Z", "scopes": ["a"]}
    path.write_text(json.dumps(user))
    path.chmod(0o600)
    return str(path)


# --- which modules ---


def test_importing_the_package_alone_loads_nearly_nothing() -> None:
    assert not loaded("-c", "import SlyAPI") & (NETWORK | DEAR | OPTIONAL)


@pytest.mark.parametrize("names", ["OAuth2User", "OAuth1User", "SlyError", "WebAPI", "OAuth2", "OAuth2App", "*"])
def test_importing_names_loads_neither_aiohttp_nor_an_optional_library(names: str) -> None:
    modules = loaded("-c", f"from SlyAPI import {names}")
    assert not modules & OPTIONAL
    assert "aiohttp" not in modules


def test_ways_to_a_token_that_a_program_does_not_use_cost_no_import() -> None:
    code = "import sys\nfrom SlyAPI import OAuth2, OAuth2App, WebAPI\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    unused = "device introspection discovery metadata_calls protected_resource machines client_assertion"
    unused += " profile pushed_request signed_request signed_response"
    assert not {f"SlyAPI.oauth2.{name}" for name in unused.split()} & {*ran.stdout.split()}
    assert not {"SlyAPI.sources", "SlyAPI.transport.certificates", "joserfc", "difflib"} & {*ran.stdout.split()}
    assert "SlyAPI.stores.token_ends" not in ran.stdout.split()


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]], ids=str)
def test_help_loads_no_library_and_nothing_dear(words: list[str]) -> None:
    needless = {"datetime", "signal", "json", "textwrap"}
    assert not loaded("-m", "SlyAPI", *words) & (NETWORK | DEAR | OPTIONAL | needless)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_help_loads_no_aiohttp(command: str) -> None:
    assert not loaded("-m", "SlyAPI", command, "--help") & {"aiohttp", "asyncio", "ssl", *OPTIONAL}


@pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
def test_show_loads_no_library_and_nothing_dear(user_file: str, more: list[str]) -> None:
    assert not loaded("-m", "SlyAPI", "show", user_file, *more) & (NETWORK | DEAR | OPTIONAL | {"signal"})


def test_showing_what_cannot_be_shown_loads_nothing_dear_either(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.json")
    assert not loaded("-m", "SlyAPI", "show", missing, allowed=(3,)) & (NETWORK | DEAR | OPTIONAL)


def test_the_first_client_brings_aiohttp_so_that_the_first_request_need_not() -> None:
    ask = "import sys\nfrom SlyAPI import Auth, WebAPI\nassert 'aiohttp' not in sys.modules\nWebAPI(Auth.none())\n"
    assert "aiohttp" in loaded("-c", ask)


def test_no_import_statement_is_on_the_way_of_a_request() -> None:
    for module, functions in {
        "webapi/older_verbs": {"get_json", "_json", "_object"},
        "webapi/webapi": {"_create_request", "_send", "_client"},
        "webapi/signed_call": {"signed_call", "copied"},
        "webapi/origin": {"admits"},
        "transport/requests": {"fetch", "_fetch", "read_body"},
        "transport/per_loop": {"get"},
    }.items():
        tree = ast.parse((Path(SlyAPI.__file__).parent / f"{module}.py").read_text("utf-8"))
        found = {
            node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert functions <= found.keys()
        for name in functions:
            assert not [node for node in ast.walk(found[name]) if isinstance(node, ast.Import | ast.ImportFrom)], name


# --- names that come when they are asked for ---


def for_tools(package: ModuleType) -> dict[str, str]:
    """`{name: module}` of what a package imports under `TYPE_CHECKING`."""
    tree = ast.parse(Path(str(package.__file__)).read_text("utf-8"))
    (checking,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in checking.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: resolve_name("." * node.level + str(node.module), package.__name__)
        for node in imports
        for alias in node.names
    }


@pytest.mark.parametrize("name", LAZY_PACKAGES)
def test_the_interpreter_finds_what_type_checkers_see(name: str) -> None:
    package = import_module(name)
    told = for_tools(package)
    assert set(told) >= set(package.__all__)
    assert name == "SlyAPI" or set(told) == set(package.__all__)
    for public, module in told.items():
        assert getattr(package, public) is getattr(import_module(module), public)
        assert not hasattr(import_module(module), "__path__") or module.rpartition(".")[2] != public


@pytest.mark.parametrize("name", LAZY_PACKAGES)
def test_dir_lists_the_names_before_they_are_asked_for(name: str) -> None:
    code = f"import {name}, sys; print(*dir(sys.modules[{name!r}]))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(import_module(name).__all__) <= set(ran.stdout.split())


@pytest.mark.parametrize(
    "path",
    [
        *("SlyAPI.oauth2.OAuth2App.exchange_code", "SlyAPI.oauth2.requires_scopes", "SlyAPI.oauth1.signature"),
        *("SlyAPI.web.Method", "SlyAPI.webapi.WebAPI", "SlyAPI.auth.Auth.none", "SlyAPI.stores.FileStore"),
    ],
)
def test_a_path_below_the_package_needs_no_import_of_its_own(path: str) -> None:
    subprocess.run([sys.executable, "-c", f"import SlyAPI; {path}"], check=True, timeout=60)


def test_a_misspelt_name_is_told_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'SlyAPI' has no attribute 'WebApi'") as caught:
        SlyAPI.WebApi  # type: ignore[attr-defined]  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("WebApi", SlyAPI)
    with pytest.raises(ImportError, match="cannot import name 'WebApi' from 'SlyAPI'"):
        exec("from SlyAPI import WebApi")


def test_a_name_that_was_asked_for_once_is_a_plain_attribute() -> None:
    asked = SlyAPI.AsyncTrans
    assert vars(SlyAPI)["AsyncTrans"] is asked


def test_a_pickle_is_read_where_nothing_was_imported_yet() -> None:
    raw = pickle.dumps(SlyAPI.OAuth2User("tt", scopes=["a"]))
    code = f"import pickle; print(pickle.loads({raw!r}).scopes)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "['a']\n"


def test_a_pickle_of_a_public_object_names_a_public_module() -> None:
    public = [SlyAPI, *(import_module(f"SlyAPI.{name}") for name in ("web", "webapi", "oauth1", "oauth2", "stores"))]
    paths = {package.__name__ for package in public} | {"SlyAPI.auth", "SlyAPI.errors"}
    for package in public:
        for value in (getattr(package, name) for name in package.__all__):
            assert not isinstance(value, type) or value.__module__ in paths, value


def test_threads_that_ask_for_the_same_name_at_once_all_get_it() -> None:
    code = """
import sys, threading
import SlyAPI
start, seen = threading.Barrier(8), []
def ask():
    start.wait()
    seen.append((SlyAPI.OAuth2, SlyAPI.WebAPI(SlyAPI.Auth.none())))
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(seen) == 8 and len({kind for kind, _ in seen}) == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- the command line before argparse ---


words = st.sampled_from(["a.json", "b.json", "--json", "--js", "--", "-", "", "--store", "sqlite:x", "--name=n", "-h"])


@given(st.sampled_from(sorted(FILES)), st.lists(words, max_size=4))
def test_calls_that_are_read_without_argparse_mean_what_they_mean_to_it(command: str, given: list[str]) -> None:
    call = plain_call([command, *given])
    if call is not None:
        assert call == read_arguments([command, *given])


def test_plain_calls_are_read_without_argparse() -> None:
    call: Any = plain_call(["token", "--json", "app.json", "user.json"])
    assert (call.command, call.app, call.user, call.json) == ("token", "app.json", "user.json", True)
    assert plain_call(["show"]) is None
    assert plain_call(["show", "a", "b"]) is None
    with pytest.raises(SlyError):
        read_arguments(["show", "a", "b"])


def test_version_is_the_packages() -> None:
    ran = subprocess.run([sys.executable, "-m", "SlyAPI", "--version"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"SlyAPI {version('SlyAPI')}\n", "")


@pytest.mark.skipif(os.name != "posix", reason="signals are sent by POSIX means")
def test_ctrl_c_while_modules_are_imported_is_one_line_and_130(tmp_path: Path, user_file: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Stuck:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'SlyAPI.cli.results':\n"
        "            import time\n"
        "            print('importing', flush=True)\n"
        "            time.sleep(60)\n"
        "sys.meta_path.insert(0, Stuck())\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-m", "SlyAPI", "show", user_file],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "Stopped. Nothing was changed.\n")
