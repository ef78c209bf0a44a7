"""docs/examples/settings.py: how the example applications are message what they need, as docs/production.md says."""
from __future__ import annotations

import asyncio
import json
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from settings import read_settings

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SCRIPTS = ["web_app.py", "starlette_app.py"]


def test_the_environment_names_the_store_unless_a_flag_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLYAPI_STORE", "postgresql://app:secret@db/app")
    assert read_settings([]).store == "postgresql://app:secret@db/app"
    assert read_settings(["--store", "sqlite:other.db"]).store == "sqlite:other.db"
    monkeypatch.setenv("SLYAPI_STORE", "")
    assert read_settings([]).store == "sqlite:users.db"


async def failure_of(script: str, words: tuple[str, ...], folder: Path) -> str:
    """The one line of an example that does not start."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / script), *words), cwd=folder, stdout=PIPE, stderr=PIPE
    )
    out, err = await child.communicate()
    assert child.returncode == 1
    assert len(err.decode().splitlines()) == 1, err.decode()
    assert out == b""
    return err.decode()


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_port_in_use_is_named_with_what_to_type(script: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        message = await failure_of(script, ("--port", str(port)), tmp_path)
    assert f"port {port} of 127.0.0.1" in message
    assert f"add --port {port + 1 if port < 65535 else 8000}" in message


@pytest.mark.parametrize(
    "words", [("--host", "192.0.2.1"), ("--port", "70000"), ("--host", "::1%nowhere")], ids=lambda words: words[1]
)
async def test_an_address_that_cannot_be_listened_on_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    assert "Check --host and --port" in (message := await failure_of("web_app.py", words, tmp_path))
    assert words[1] in message


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--provider", "github", "--client", "nowhere.json"), "nowhere.json does not exist"),
        (("--store", "users.db"), "not the URL of a store"),
        (("--provider", "openid", "--client", "client.json"), "no userinfo_uri"),
    ],
)
async def test_what_keeps_the_application_from_starting_is_told_in_one_line(
    script: str, words: tuple[str, ...], message: str, tmp_path: Path, unused_port: int
) -> None:
    uris = {"auth_uri": "https://login.example/auth", "token_uri": "https://login.example/token"}
    (tmp_path / "client.json").write_text(json.dumps({"id": "an-id", "secret": "a-secret", **uris}))
    (tmp_path / "client.json").chmod(0o600)
    assert message in await failure_of(script, (*words, "--port", str(unused_port)), tmp_path)
