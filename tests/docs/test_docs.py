"""README.md and docs/: every block of code runs, every command exists, every table says what the code says."""
from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from aiohttp import web

from SlyAPI import OAuth1App, OAuth2User, errors
from SlyAPI.cli.arguments import parser_of, read_arguments
from SlyAPI.cli.commands import COMMANDS, EXIT_CODES
from SlyAPI.cli.main import main
from SlyAPI.flow.console import exit_code
from SlyAPI.oauth2 import Identity
from SlyAPI.oauth2.client.client_file import OWN_KEYS
from SlyAPI.oauth2.client.providers import PROVIDERS
from SlyAPI.web.secret_values import SecretJson
from tests.support.account_judge import AccountJudge, new_key
from tests.support.installed import installed_at
from tests.support.oauth1_judge import CLIENT_KEY, CLIENT_SECRET, Judge, Token
from tests.support.serving import all_by, served

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CREDENTIALS = [ROOT / "docs" / "getting-oauth2-credentials.md", ROOT / "docs" / "files.md"]
STOOD_IN = {
    "https://api.github.com": {"/user": {"login": "octocat"}},
    "https://openidconnect.googleapis.com": {"/v1/userinfo": {"email": "robin@example.org"}},
    "https://discord.com": {"/api/v10/users/@me": {"username": "robin"}},
}


@dataclass(frozen=True)
class Block:
    """One fenced block: its info string, its text, and the output block right behind it."""

    page: Path
    line: int
    info: str
    text: str
    output: str | None = None

    @property
    def kind(self) -> str:
        return self.info.partition("{")[2].rstrip("}")


_FENCE = re.compile(r"^( *)```([^`\n]*)\n(.*?)^\1```$", re.M | re.S)


def blocks_of(page: Path) -> list[Block]:
    found: list[Block] = []
    text, end = page.read_text(encoding="utf-8"), -1
    for fence in _FENCE.finditer(text):
        content = dedent(fence[3])
        if fence[2] == "text {output}":
            assert not text[end : fence.start()].strip(), f"{page.name}: an output without its block"
            found[-1] = Block(page, found[-1].line, found[-1].info, found[-1].text, content)
        else:
            found.append(Block(page, text.count("\n", 0, fence.start()) + 1, fence[2], content))
        end = fence.end()
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def blocks(kind: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.kind == kind]
    assert chosen, kind
    return pytest.mark.parametrize("block", chosen, ids=lambda block: f"{block.page.name}:{block.line}")


def environ(home: Path) -> dict[str, str]:
    """A user's environment in which `python` is this one, and no browser is at hand."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}


def run(words: list[str], folder: Path) -> str:
    """What a program prints; it may neither fail nor warn."""
    ran = subprocess.run(
        words, cwd=folder, env=environ(folder), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


# --- blocks of code ---


def test_every_python_block_is_tested_somehow() -> None:
    kinds = {block.kind for block in BLOCKS if block.info.startswith("python")}
    kinds = {kind for kind in kinds if kind.partition(" ")[0] not in ("before", "carry", "after")}  # test_migrating.py
    others = {"contract"}  # tests/stores
    others |= {"fastapi", "fastapi provider", "fastapi github", "fastapi test", "fastapi api"}
    others |= {"flask", "django"}  # tests/end_to_end
    assert kinds == {"practice", "pytest", "stand-in", "oauth1", "account", "auth", *others}


def test_python_on_a_page_is_at_most_88_columns_wide() -> None:
    wide = [f"{block.page.name}: {line}" for block in BLOCKS if block.info.startswith("python")
            for line in block.text.splitlines() if len(line) > 88]
    assert wide == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the demo left, and what it said."""
    place = tmp_path_factory.mktemp("demo")
    words = [sys.executable, "-m", "SlyAPI", "demo"]
    ran = subprocess.run(words, cwd=place, env=environ(place), check=True, capture_output=True, text=True, timeout=60)
    return place / "slyapi-demo", ran.stderr


@blocks("practice")
def test_a_practice_block_runs_in_the_folder_of_the_demo(
    block: Block, demo: tuple[Path, str], tmp_path: Path
) -> None:
    folder = shutil.copytree(demo[0], tmp_path / "here")
    (folder / "block.py").write_text(block.text, encoding="utf-8")
    assert run([sys.executable, "block.py"], folder) == (block.output or "")


@blocks("pytest")
def test_a_test_of_the_page_passes_in_a_project_of_its_own(block: Block, tmp_path: Path) -> None:
    (tmp_path / "test_block.py").write_text(block.text, encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-W", "error", "-o", "asyncio_mode=auto"]
    words += ["-o", "asyncio_default_fixture_loop_scope=function", "test_block.py"]
    env = installed_at(tmp_path / "installed")
    ran = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout


@asynccontextmanager
async def standing_in() -> AsyncGenerator[str, None]:
    """A server for the providers' APIs: `/HOST/PATH` as STOOD_IN says, for who has the token."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer practice-token":
            return web.json_response({"error": "who are you?"}, status=401)
        host, slash, path = request.path.strip("/").partition("/")
        return web.json_response(STOOD_IN[f"https://{host}"][slash + path])

    async with served(all_by(answer)) as origin:
        yield origin


@blocks("stand-in")
async def test_a_first_call_works_with_the_files_of_its_provider(block: Block, tmp_path: Path) -> None:
    (name,) = set(re.findall(r"\"(\w+)-user\.json\"", block.text))
    main(["scaffold", str(tmp_path / f"{name}.json"), "--provider", name, "--id", "an-id"])
    user = {"token": "practice-token", "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    (tmp_path / f"{name}-user.json").write_text(json.dumps(user))
    async with standing_in() as origin:
        text, count = re.subn("https://", f"{origin}/", block.text)
        (tmp_path / "block.py").write_text(text)
        printed = await asyncio.to_thread(run, [sys.executable, "block.py"], tmp_path)
    assert count == 1
    assert printed.strip() in ("octocat", "robin@example.org", "robin")


@blocks("oauth1")
async def test_a_block_of_oauth_1_works_at_a_server_of_oauthlibs(block: Block, tmp_path: Path) -> None:
    async with Judge(time.time).running() as judge:
        judge.tokens["a-token"] = Token("its-secret")
        uris = (f"{judge.origin}/{name}" for name in ("Request", "Authorize", "Access"))
        app = OAuth1App(CLIENT_KEY, CLIENT_SECRET, *uris)
        (tmp_path / "app.json").write_text(json.dumps(asdict(app)))
        (tmp_path / "user.json").write_text(json.dumps({"key": "a-token", "secret": "its-secret"}))
        (tmp_path / "block.py").write_text(block.text.replace("https://photos.example.net", judge.origin))
        printed = await asyncio.to_thread(run, [sys.executable, "block.py"], tmp_path)
    assert printed == "{'signed': True, 'method': 'HMAC-SHA1'}\n"


@blocks("account")
async def test_a_block_of_service_accounts_works_at_a_token_endpoint_that_reads_assertions(
    block: Block, tmp_path: Path
) -> None:
    async with AccountJudge(new_key(), time.time).running() as judge:
        (tmp_path / "key.json").write_text(json.dumps(judge.key_file()))
        (tmp_path / "block.py").write_text(block.text.replace("https://calendar.example.net", judge.origin))
        printed = await asyncio.to_thread(run, [sys.executable, "block.py"], tmp_path)
    assert printed == (block.output or "")


def parcel_service() -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The API of docs/writing-an-auth.md: an API key, or a session token for it, which is good for three calls."""
    calls_of: list[int] = []  # by session

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/session":
            assert await request.json() == {"key": "an-api-key"}
            calls_of.append(0)
            return web.json_response({"token": f"token-{len(calls_of)}", "seconds": 600})
        if request.headers.get("X-Api-Key") != "an-api-key":
            if not calls_of or request.headers.get("Authorization") != f"Session token-{len(calls_of)}":
                return web.Response(status=401)
            calls_of[-1] += 1
            if calls_of[-1] > 3:
                return web.Response(status=401)
        return web.json_response({"waiting": 2, "logins": len(calls_of)})

    return answer


@blocks("auth")
async def test_each_step_of_an_auth_works_at_its_api(block: Block, tmp_path: Path) -> None:
    async with served(all_by(parcel_service())) as origin:
        (tmp_path / "block.py").write_text(block.text.replace("https://parcels.example.net", origin))
        printed = await asyncio.to_thread(run, [sys.executable, "block.py"], tmp_path)
    assert printed == (block.output or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_console_block_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    for block in blocks_of(page):
        if block.info == "console {run}":
            commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
            printed = subprocess.run(
                ["sh", "-c", "\n".join(f"echo '$ {command}'\n{command}" for command in commands)],
                cwd=tmp_path,
                env=environ(tmp_path),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            ).stdout
            assert printed == block.text, f"{page.name}:{block.line}"


# --- what the pages on the two files show ---


def quoted(beginning: str) -> str:
    """The one block of these pages that begins so."""
    (text,) = (block.text for page in CREDENTIALS for block in blocks_of(page) if block.text.startswith(beginning))
    return text


def said_by(words: str, folder: Path, typed: str = "", **more: str) -> str:
    """What a command says on stderr, to somebody at a pipe."""
    command = [sys.executable, "-m", "SlyAPI", *words.split()]
    env = environ(folder) | more
    return subprocess.run(command, cwd=folder, env=env, input=typed, capture_output=True, text=True, timeout=60).stderr


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as free:
        return int(free.getsockname()[1])


def test_the_wizard_asks_what_its_page_shows(tmp_path: Path) -> None:
    command, *lines = quoted("$ python -m SlyAPI scaffold\n").splitlines()
    said = said_by(command.partition("SlyAPI ")[2], tmp_path, "\ngithub\nIv1.abc\na-secret\n")
    # a pipe echoes neither the answer nor the Enter behind it
    prompts = re.sub(r"(?m)^(Client (?:file|id|secret)|Provider)(.*:)(?: \S+)?\n", r"\1\2 ", "\n".join(lines) + "\n")
    assert said.split() == prompts.split()  # a terminal wraps the lines, a pipe does not


def test_grant_says_over_ssh_and_at_a_busy_port_what_its_page_shows(tmp_path: Path) -> None:
    said_by("scaffold app.json --provider discord --id an-id", tmp_path)
    port = free_port()
    words = f"grant app.json user.json identify --port {port}"
    ssh = {"SSH_CONNECTION": "10.0.0.1 50000 10.0.0.9 22", "USER": "ada"}
    assert quoted("No browser").replace("8080", str(port)) in said_by(f"{words} --timeout 0.2", tmp_path, **ssh)
    with socket.create_server(("127.0.0.1", port)):
        assert said_by(words, tmp_path) == quoted("Cannot listen").replace("8080", str(port))


def test_show_says_of_the_user_file_what_its_page_shows(tmp_path: Path) -> None:
    (tmp_path / "user.json").write_text(quoted('{\n    "token"'))
    (tmp_path / "user.json").chmod(0o600)
    said = run([sys.executable, "-m", "SlyAPI", "show", "user.json"], tmp_path)
    assert re.sub(r" \((in|expired).*", "", said) == re.sub(r" \(in.*", "", quoted("user file:"))


def test_git_is_mentioned_as_its_page_shows(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, timeout=30)
    (tmp_path / "secret.txt").write_text("a-secret")
    said = said_by("scaffold app.json --provider discord --id an-id --secret-file secret.txt", tmp_path)
    assert said.endswith(quoted("Warning"))


# --- commands ---


def flags_in_help(command: str) -> list[str]:
    """The flags of a command's help with the names of their values, such as `--port N`."""
    text = parser_of(command, 200).format_help()
    return [flag for flag in re.findall(r"^  (?:-\w(?: \S+)?, )?(--[a-z-]+(?: \S+)?)", text, re.M) if flag != "--help"]


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every `python -m SlyAPI ...` of README and docs, as `(where, words)`."""
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for found in re.findall(r"python -m SlyAPI(?![A-Za-z])([^`|&)]*)", line):
                yield f"{page.name}:{number}", shlex.split(found)


def test_every_command_in_the_docs_is_one_that_the_parser_takes() -> None:
    seen = set[str]()
    for where, words in command_lines():
        seen.update(words[:1])
        if len(words) < 2 and {*words} <= {*COMMANDS, "COMMAND", "--help", "--version"}:
            continue  # only named
        try:
            args = read_arguments(words)
        except errors.ConfigError as error:
            pytest.fail(f"{where}: {words}: {error}")
        assert getattr(args, "provider", None) in (None, "NAME", *PROVIDERS), where
    assert seen >= set(COMMANDS)


def test_the_page_of_the_command_line_has_every_command_and_every_flag() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert {name for name in sections if name.islower()} == set(COMMANDS)
    for command in COMMANDS:
        flags = re.findall(r"^\| `(--[^`]+)`", sections[command], re.M)
        assert sorted(flags) == sorted(flags_in_help(command)), command
        assert f"SlyAPI {command}" in sections[command] or f"slyapi {command}" in sections[command]


def test_the_exit_codes_are_those_of_the_help() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    told = " ".join(EXIT_CODES.split()).removeprefix("exit codes: ").rstrip(".").split("; ")
    assert [" ".join(row) for row in re.findall(r"^\| (\d+) \| (.+) \|$", text, re.M)] == told


def test_contributing_names_only_commands_that_ci_runs() -> None:
    run_by_ci = (ROOT / "tests" / "run").read_text(encoding="utf-8")
    assert "tests/run" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    plain = run_by_ci.replace('"', "").replace("$bin/", ".tests/venv-3.11/bin/")
    plain = plain.replace("tests/$1/", "tests/venv-3.12/")
    commands = [
        line[2:]
        for block in blocks_of(ROOT / "docs" / "contributing.md")
        if block.info == "console {ci}"
        for line in block.text.splitlines()
    ]
    assert len(commands) > 5
    for command in commands:
        if command.startswith("tests/run"):
            flags = [word for word in command.partition(" -- ")[0].split() if word.startswith("--")]
            assert all(f"{flag})" in run_by_ci for flag in flags), command
        else:
            assert command in plain, command


# --- tables ---


def rows_of(name: str, until: str = "") -> list[list[str]]:
    """The cells of every table of a page, or of those before a heading, without their headings and rulers."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    lines = (text[: text.index(f"\n{until}\n")] if until else text).splitlines()
    tables = [number for number, line in enumerate(lines) if re.fullmatch(r"(\| ?-+ ?)+\|", line)]
    skipped = {number - offset for number in tables for offset in (0, 1)}
    cells = [line for number, line in enumerate(lines) if line.startswith("|") and number not in skipped]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in cells]


def code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def test_the_tables_of_providers_say_what_the_code_knows() -> None:
    expected: list[list[str]] = []
    for p in PROVIDERS.values():
        expected.append([p.name, code(p.auth_uri), code(p.token_uri), code(p.console), code(p.redirect_uri)])
        expected[-1].append(code(p.revoke_uri))
    for p in PROVIDERS.values():
        added = ", ".join(code(f"{name}={value}") for name, value in p.auth_params.items())
        scopes, delimiter = ", ".join(map(code, p.scopes)), {" ": "space", ",": "comma"}[p.delimiter]
        pkce = "yes" if p.pkce else "no"
        expected.append([p.name, p.client_auth, p.public_auth, pkce, added, scopes, delimiter, code(p.issuer)])
        expected[-1].append({1: "seconds", 60: "minutes"}[int(p.refresh_life_unit)])
    expected += [[p.name, p.note] for p in PROVIDERS.values() if p.note]
    assert rows_of("providers.md") == expected


@pytest.mark.parametrize("name", ["google", "github", "discord"])
def test_the_readme_sends_people_to_the_console_that_the_table_names(name: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^### {name}\n(.*?)(?=^##)", text, re.M | re.S | re.I)
    assert section
    assert f"<{PROVIDERS[name].console}>" in section[1]
    assert f"`{PROVIDERS[name].redirect_uri}`" in section[1] or name == "google"  # a Desktop client registers none


def error_classes() -> list[type[errors.SlyError]]:
    members = vars(errors).values()
    return [cls for cls in members if inspect.isclass(cls) and issubclass(cls, errors.SlyError)]


def made(cls: type[errors.SlyError]) -> errors.SlyError:
    parameters = inspect.signature(cls).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    values: dict[str, Any] = {name: 400 if name == "status" else "text" for name in needed}
    return cls(**values)


def test_the_page_of_the_files_has_every_key_that_they_may_have() -> None:
    keys = [row[0].strip("`") for row in rows_of("files.md") if len(row) == 2]
    user = OAuth2User("t", "r", datetime.now(UTC), requested_scopes=[], client_auth="post")
    user.refresh_expires_at, user.id_token = datetime.now(UTC), "an.id.token"
    user.identity, user.dpop_key = Identity("https://issuer.example", "robin", {}), SecretJson(kty="EC")
    user.issued_to = {"client": "id", "token_uri": "https://p.example/token"}
    assert keys == [*OWN_KEYS, *user.to_dict()]


def test_the_table_of_errors_is_the_family() -> None:
    expected = []
    for cls in error_classes():
        like = [base for base in cls.__mro__ if base.__module__ == "builtins" and base.__name__.endswith("Error")]
        like = [base for base in like if not any(base is not other and issubclass(other, base) for other in like)]
        names = sorted(base.__name__ for base in like)
        expected.append((cls.__name__, cls.kind, str(exit_code(made(cls))), names))
    told = [
        (name.strip("`"), kind.strip("`"), code, sorted(re.findall(r"\w+", like)))
        for name, _, kind, _, code, like in rows_of("errors.md")[: len(expected)]
    ]
    assert told == expected


def test_specs_name_functions_and_tests_that_exist() -> None:
    rows = rows_of("specs.md", until="## Conformance")
    assert len(rows) > 30
    for clause, supported, function, test in rows:
        if not function:
            assert not test, clause
            assert supported.startswith(("not ", "never")), clause
            continue
        resolve(function.strip("`"))
        path, _, name = test.strip("`").partition("::")
        assert re.search(rf"def {name}\(", (ROOT / "tests" / path).read_text(encoding="utf-8")), clause


def resolve(dotted: str) -> object:
    """The thing that `oauth2.client.app.OAuth2App.refresh` names below SlyAPI."""
    words = dotted.split(".")
    for length in range(len(words), 0, -1):
        try:
            found: object = importlib.import_module(".".join(["SlyAPI", *words[:length]]))
        except ModuleNotFoundError:
            continue
        for word in words[length:]:
            found = getattr(found, word)
        return found
    raise AssertionError(dotted)


def test_the_architecture_has_one_line_for_every_wing() -> None:
    package = ROOT / "src" / "SlyAPI"
    named = {row[0].strip("`") for row in rows_of("architecture.md") if row[0].startswith("`")}
    entries = {path.stem for path in package.iterdir() if path.suffix != ".typed"}
    assert named == entries - {"__init__", "__main__", "__pycache__"}


# --- messages ---


def literals_of_src() -> list[str]:
    """Every piece of text in the strings of src, in f-strings between the braces."""
    found: list[str] = []
    for path in (ROOT / "src" / "SlyAPI").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return found


def test_every_message_quoted_for_troubleshooting_exists() -> None:
    words = [text.strip() for literal in literals_of_src() for text in re.split(r"\{\w+\}", literal)]
    words = [text for text in words if " " in text and len(text) >= 9]
    quoted = [block for block in blocks_of(ROOT / "docs" / "troubleshooting.md") if block.info == "text {seen}"]
    lines = [line for block in quoted for line in block.text.splitlines()]
    assert len(lines) > 25
    assert [line for line in lines if not any(text in line for text in words)] == []


# --- links ---


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith(("https://", "http://")):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors_of(target), link


def test_the_readme_leads_to_the_index_and_the_index_to_every_page() -> None:
    assert "(docs/index.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert not [page.name for page in PAGES[1:] if f"({page.name}" not in text and page.name != "index.md"]
