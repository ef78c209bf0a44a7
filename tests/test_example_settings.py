"""docs/examples/settings.py: how the example applications are told what they need, as docs/production.md says."""
from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from settings import read_settings

WEB_APP = Path(__file__).parents[1] / "docs" / "examples" / "web_app.py"


def test_the_environment_names_the_store_unless_a_flag_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLYAPI_STORE", "postgresql://app:secret@db/app")
    assert read_settings([]).store == "postgresql://app:secret@db/app"
    assert read_settings(["--store", "sqlite:other.db"]).store == "sqlite:other.db"
    monkeypatch.setenv("SLYAPI_STORE", "")
    assert read_settings([]).store == "sqlite:users.db"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--provider", "github", "--client", "nowhere.json"), "nowhere.json does not exist"),
        (("--store", "users.db"), "not the URL of a store"),
        (("--provider", "openid", "--client", "client.json"), "no userinfo_uri"),
    ],
)
async def test_what_keeps_the_application_from_starting_is_told_in_one_line(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    uris = {"auth_uri": "https://login.example/auth", "token_uri": "https://login.example/token"}
    (tmp_path / "client.json").write_text(json.dumps({"id": "an-id", "secret": "a-secret", **uris}))
    (tmp_path / "client.json").chmod(0o600)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WEB_APP), *words), cwd=tmp_path, stdout=PIPE, stderr=PIPE
    )
    out, err = await child.communicate()
    assert child.returncode == 1
    assert told in err.decode()
    assert len(err.decode().splitlines()) == 1
    assert out == b""
