"""`python -m SlyAPI new`: a project that passes its own tests and type checks from its first minute."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from SlyAPI.cli.main import main
from SlyAPI.cli.new_command import client_project
from SlyAPI.errors import ConfigError
from SlyAPI.oauth2.client.providers import PROVIDERS
from SlyAPI.web import next_steps
from tests.support.installed import installed_at


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts_in(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("words", [["weather"], ["Tide-tables_2", "--provider", "github"]], ids=lambda words: words[0])
def test_what_it_makes_passes_its_own_tests_and_type_checks(here: Path, words: list[str]) -> None:
    assert main(["new", *words, "--folder", "made"]) == 0
    env = installed_at(here / "installed")
    tools = (["pytest", "-q"], ["mypy", "--strict"], ["pyright", "--pythonpath", sys.executable])
    for tool in tools if find_spec("mypy") else tools[:1]:  # type checkers are only in the main environment
        command = [sys.executable, "-m", *tool]
        ran = subprocess.run(command, cwd=here / "made", env=env, capture_output=True, text=True, timeout=240)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert tool[0] != "pytest" or "6 passed" in ran.stdout


def test_its_own_commands_make_a_client_file_and_explain_themselves(here: Path) -> None:
    main(["new", "weather", "--provider", "google"])
    env = installed_at(here / "installed")
    env["PYTHONPATH"] = f"{here / 'weather' / 'src'}{os.pathsep}{env['PYTHONPATH']}"
    steps: tuple[tuple[list[str], str, int, str], ...] = (
        *((["forecast", "Oslo"], "", 1, "scaffold"), (["grant"], "", 3, "scaffold")),
        *((["scaffold"], "\n", 0, "grant"), ([], "", 2, "scaffold")),
    )
    for words, typed, code, then in steps:
        command = [sys.executable, "-m", "weather", *words]
        ran = subprocess.run(command, cwd=here, env=env, input=typed, capture_output=True, text=True, timeout=60)
        assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr
        assert f"python -m weather {then}" in ran.stderr, words
        assert "python -m SlyAPI" not in ran.stderr, words
    client = json.loads((here / "app.json").read_text())
    (here / "app.json").write_text(json.dumps(client | {"id": "an-id"}))
    command = [sys.executable, "-m", "weather", "forecast", "Oslo"]
    ran = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=60)
    assert "python -m weather grant" in ran.stderr
    assert (client["auth_uri"], client["token_uri"]) == (PROVIDERS["google"].auth_uri, PROVIDERS["google"].token_uri)


@pytest.mark.parametrize("name", ["weather", "my-weather", "My_Weather2", "W", "a" * 40])
def test_a_name_becomes_a_folder_a_package_and_a_class(name: str) -> None:
    project = client_project(name)
    (package,) = {path.split("/")[1] for path in project if path.startswith("src/")}
    assert package == name.lower().replace("-", "_")
    for path, text in project.items():
        assert "{{" not in path
        assert not re.search(r"(?<!\$)\{\{", text), path
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (None, "SlyAPI>=0.7.0"),
        ({"url": "file:///home/robin/SlyAPI", "dir_info": {"editable": True}}, "SlyAPI @ file:///home/robin/SlyAPI"),
        (
            {"url": "https://forge.example/SlyAPI.git", "vcs_info": {"vcs": "git", "commit_id": "5ec9e7"}},
            "SlyAPI @ git+https://forge.example/SlyAPI.git@5ec9e7",
        ),
    ],
)
def test_a_project_requires_slyapi_from_where_it_came(
    origin: object, requirement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "slyapi-0.7.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.3\nName: SlyAPI\nVersion: 0.7.0\n")
    if origin:
        (info / "direct_url.json").write_text(json.dumps(origin))  # as installers write it (PEP 610)
    monkeypatch.syspath_prepend(str(tmp_path))
    for published, expected in ((False, requirement), (True, "SlyAPI>=0.7.0")):
        monkeypatch.setattr(next_steps, "PUBLISHED", published)
        made = tomllib.loads(client_project("weather")["pyproject.toml"])
        assert made["project"]["dependencies"] == [expected]
        direct = made["tool"]["hatch"].get("metadata", {}).get("allow-direct-references", False)
        assert direct is ("not on PyPI" in client_project("weather")["README.md"]) is (" @ " in expected)


@pytest.mark.parametrize(
    "name",
    [
        *("", "-", "../weather", "a/b", "2weather", "wea ther", "wetter-", "weath\u00e9r"),
        *("a--b", "a.b", "x\ny", "a" * 41),
        *("json", "class", "None", "true", "SlyAPI", "tests", "pytest"),
        *("Day", "scope", "GrantEndedError", "ValueError"),
    ],
)
def test_a_name_that_the_project_cannot_have_is_refused_before_anything_is_written(here: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        client_project(name)
    assert main(["new", "--", name]) == 2
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("provider", ["githup", "", "\x1b[31m"])
def test_a_provider_that_is_not_known_is_wrong_usage(
    here: Path, provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "weather", "--provider", provider]) == 2
    assert list(here.iterdir()) == []
    assert "\x1b" not in capsys.readouterr().err


def test_nothing_that_exists_is_overwritten(here: Path) -> None:
    (here / "weather").mkdir()
    (here / "file").write_text("mine")
    assert main(["new", "weather"]) == 0  # an empty folder will do
    before = texts_in(here)
    assert main(["new", "weather"]) == 9
    assert main(["new", "weather", "--folder", "file"]) == 9
    assert texts_in(here) == before


@pytest.mark.posix
def test_a_folder_that_cannot_be_made_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("mine")
    assert main(["new", "weather", "--folder", "file/below"]) == 2
    assert "file/below" in capsys.readouterr().err


@pytest.mark.posix
def test_the_result_is_one_json_object(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "weather", "--json", "--folder", "deep/er"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["folder"] == "deep/er"
    assert sorted(result["files"]) == sorted(texts_in(here / "deep" / "er"))


@pytest.mark.posix
def test_git_would_not_commit_the_secrets_of_a_project(here: Path) -> None:
    main(["new", "weather"])
    for words in (["init", "-q"], ["check-ignore", "-q", "app.json"], ["check-ignore", "-q", "user.json"]):
        subprocess.run(["git", *words], cwd=here / "weather", check=True, timeout=30)
