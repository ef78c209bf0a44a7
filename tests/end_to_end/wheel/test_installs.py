"""The wheel in the places where people install it, and under the switches with which they run it."""
from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import zipapp
from pathlib import Path

import pytest

from tests.end_to_end.wheel.conftest import Built, Installed, base_python, empty_env, install, ran

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("wheel")]


@pytest.fixture(params=["pip in a venv", "uv in a venv", "pip --prefix", "pip --target"])
def installed(request: pytest.FixtureRequest, built: Built, tmp_path: Path) -> Installed:
    """One way of installing; `--prefix` is what conda does, without a virtual environment."""
    place, env = tmp_path / "place", empty_env(tmp_path)
    match request.param:
        case "uv in a venv":
            place = request.getfixturevalue("uv_venv")
        case "pip in a venv":
            install(base_python(), "-m", "venv", str(place), folder=tmp_path)
            pip = (str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--only-binary", ":all:")
            install(*pip, str(built.wheel), folder=tmp_path)
        case "pip --prefix":
            pip = (base_python(), "-m", "pip", "install", "-q", "--only-binary", ":all:")
            install(*pip, "--ignore-installed", "--prefix", str(place), str(built.wheel), folder=tmp_path)
            library = sysconfig.get_path("purelib", "posix_prefix", {"base": str(place)})
            return Installed(Path(base_python()), place / "bin" / "slyapi", env | {"PYTHONPATH": library})
        case _:
            place = request.getfixturevalue("target")
            return Installed(Path(base_python()), place / "bin" / "slyapi", env | {"PYTHONPATH": str(place)})
    return Installed(place / "bin" / "python", place / "bin" / "slyapi", env)


def test_an_installation_runs_the_demo_and_the_console_script(installed: Installed, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    demo = installed.slyapi("demo", "--no-browser", folder=here)
    assert demo.returncode == 0, demo.stderr
    shown = ran(str(installed.script), "show", "slyapi-demo/user.json", folder=here, env=installed.env)
    assert shown.returncode == 0, shown.stderr
    assert "weather.read notes" in shown.stdout
    assert ran(str(installed.script), "show", "absent.json", folder=here, env=installed.env).returncode == 3


IMPORT_ALL = """
import importlib, pkgutil, SlyAPI
optional = {"pytest", "redis", "psycopg", "keyring", "httpx", "httpx2", "joserfc", "cryptography", "segno", "orjson"}
for module in pkgutil.walk_packages(SlyAPI.__path__, "SlyAPI."):
    if module.name == "SlyAPI.cli.pyinstaller.hook-SlyAPI":
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        assert (error.name or "").partition(".")[0] in optional, (module.name, error)
"""


@pytest.mark.parametrize("switch", ["-O", "-OO", "-I", "-P", "-bb"])
def test_every_module_and_a_grant_work_under_a_switch(switch: str, uv_venv: Path, tmp_path: Path) -> None:
    env, python = empty_env(tmp_path), str(uv_venv / "bin" / "python")
    imported = ran(python, switch, "-W", "error", "-c", IMPORT_ALL, folder=tmp_path, env=env)
    assert imported.returncode == 0, imported.stderr
    demo = ran(python, switch, "-m", "SlyAPI", "demo", "--no-browser", folder=tmp_path, env=env)
    assert demo.returncode == 0, demo.stderr
    helped = ran(python, switch, "-m", "SlyAPI", "grant", "--help", folder=tmp_path, env=env)
    assert "Have one user consent" in helped.stdout


def test_a_new_project_installs_in_a_fresh_environment(uv_venv: Path, tmp_path: Path) -> None:
    env, uv = empty_env(tmp_path), (sys.executable, "-m", "uv")
    made = ran(str(uv_venv / "bin" / "python"), "-m", "SlyAPI", "new", "weather", folder=tmp_path, env=env)
    assert made.returncode == 0, made.stderr
    install(*uv, "venv", "-q", "--python", base_python(), "fresh", folder=tmp_path)
    python = str(tmp_path / "fresh" / "bin" / "python")
    install(*uv, "pip", "install", "-q", "--python", python, "./weather", folder=tmp_path)
    asked = ran(python, "-m", "weather", "forecast", "Oslo", folder=tmp_path, env=env)
    assert (asked.returncode, "python -m weather scaffold" in asked.stderr) == (1, True), asked.stderr


def test_with_a_safe_path_a_file_of_the_folder_takes_the_place_of_no_module(uv_venv: Path, tmp_path: Path) -> None:
    for name in ("json", "aiohttp", "secrets", "SlyAPI"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the current folder was imported')")
    script, python = str(uv_venv / "bin" / "slyapi"), str(uv_venv / "bin" / "python")
    safe = empty_env(tmp_path, PYTHONSAFEPATH="1")
    for command, env in (((script,), empty_env(tmp_path)), ((script,), safe), ((python, "-m", "SlyAPI"), safe)):
        demo = ran(*command, "demo", "--no-browser", folder=tmp_path, env=env)
        assert demo.returncode == 0, demo.stderr


def test_a_zipapp_of_the_standard_library_runs_and_keeps_the_exit_code(target: Path, tmp_path: Path) -> None:
    app = tmp_path / "slyapi.pyz"
    zipapp.create_archive(target, app, main="SlyAPI.__main__:run")
    check_app((base_python(), str(app)), tmp_path)


def test_a_zipapp_of_shiv_runs_and_keeps_the_exit_code(built: Built, uv_venv: Path, tmp_path: Path) -> None:
    app, tools = tmp_path / "slyapi.pyz", tmp_path / "tools"
    uv = (sys.executable, "-m", "uv", "pip", "install", "-q")
    install(*uv, "--target", str(tools), "shiv", "pip", "setuptools<81", folder=tmp_path)
    shiv = (base_python(), "-m", "shiv", "-q", "-c", "slyapi", "-o", str(app), str(built.wheel))
    install(*shiv, folder=tmp_path, PYTHONPATH=str(tools))
    check_app((base_python(), str(app)), tmp_path)


FROZEN = """
import sys
from SlyAPI.__main__ import run

if sys.argv[1] == "library":
    from SlyAPI import OAuth2, OAuth2App, OAuth2ServiceAccount, WebAPI
    from SlyAPI.oauth2 import ClientCredentials
    from SlyAPI.oauth2.messages.jose import new_key
    from SlyAPI.flow.device import qr_lines
    from SlyAPI.stores import SqliteStore

    print(new_key()["crv"], len(qr_lines("https://example.com/")) > 5)
    sys.exit()
run()
"""


@pytest.fixture(scope="module")
def frozen(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program frozen by PyInstaller, in an environment with two of the extras."""
    folder = tmp_path_factory.mktemp("frozen")
    uv = (sys.executable, "-m", "uv")
    install(*uv, "venv", "-q", "--python", base_python(), str(folder / "venv"), folder=folder)
    python = str(folder / "venv" / "bin" / "python")
    packages = (f"{built.wheel}[jose,qr]", "pyinstaller>=6")
    install(*uv, "pip", "install", "-q", "--python", python, "--no-build", *packages, folder=folder)
    (folder / "program.py").write_text(FROZEN)
    install(python, "-m", "PyInstaller", "--onedir", "--log-level", "WARN", "program.py", folder=folder)
    shutil.rmtree(folder / "venv")  # what is missing in the program cannot come from there
    return folder / "dist" / "program" / "program"


def test_a_frozen_program_runs_every_command(frozen: Path, tmp_path: Path) -> None:
    check_app((str(frozen),), tmp_path)
    env = empty_env(tmp_path)
    made = ran(str(frozen), "new", "weather", folder=tmp_path, env=env)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "weather" / "src" / "weather" / "client.py").exists()
    helped = ran(str(frozen), "--help", folder=tmp_path, env=env).stdout
    for command in helped.partition("commands:")[2].partition("\n\n")[0].strip().splitlines():
        done = ran(str(frozen), command.split()[0], "--help", folder=tmp_path, env=env)
        assert done.returncode == 0, command


def test_a_frozen_program_finds_the_extras(frozen: Path, tmp_path: Path) -> None:
    done = ran(str(frozen), "library", folder=tmp_path, env=empty_env(tmp_path))
    assert (done.returncode, done.stdout) == (0, "P-256 True\n"), done.stderr


def check_app(command: tuple[str, ...], folder: Path) -> None:
    """A whole grant, a good and a bad exit code, and the version."""
    env = empty_env(folder)
    demo = ran(*command, "demo", "--no-browser", folder=folder, env=env)
    assert demo.returncode == 0, demo.stderr
    shown = ran(*command, "show", os.path.join("slyapi-demo", "user.json"), folder=folder, env=env)
    assert shown.returncode == 0, shown.stderr
    assert "weather.read notes" in shown.stdout
    assert ran(*command, "show", "absent.json", folder=folder, env=env).returncode == 3
    assert ran(*command, "--version", folder=folder, env=env).stdout.startswith("SlyAPI ")
