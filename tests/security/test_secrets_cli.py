"""No run of the command line shows a secret: not to those who list processes, on no stream, in no file but its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.place import SECRET, Place, place_at, secrets_in

pytestmark = pytest.mark.slow


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path, access_token_lifetime=1.0) as place:
        place.env["TMPDIR"] = str(tmp_path / "tmp")
        (tmp_path / "tmp").mkdir()
        yield place


def processes(place: Place) -> list[tuple[str, str]]:
    """What anyone on the machine may read of our children, their arguments, and their owner, the environment."""
    told: list[tuple[str, str]] = []
    for process in Path("/proc").iterdir():
        try:
            arguments, environ = ((process / name).read_text(errors="replace") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if str(place.folder.parent) in environ:
            told.append((arguments, environ))
    return told


async def watched(place: Place, *argv: str, lines: tuple[str, ...] | None = None) -> tuple[int, str, set[str]]:
    """Runs a command; its exit code, all it said, and what the list of processes told of it meanwhile."""
    child = await place.slyapi(*argv, stdin="nothing" if lines is None else "pipe")
    for line in lines or ():
        child.types(line)
    ending, told = asyncio.ensure_future(child.ends()), set[str]()
    while not ending.done():
        told |= {text for process in processes(place) for text in process}
        await asyncio.wait([ending], timeout=0.02)
    ended = await ending
    return ended.code, ended.out + ended.err, told


async def test_a_grant_shows_its_link_to_the_browser_and_nothing_to_anyone_else(place: Place) -> None:
    seen: list[tuple[str, str]] = []
    place.browser.look = lambda: seen.extend(processes(place))
    code, said, told = await watched(place, "grant", "app.json", "user.json", "notes")
    page = await place.browser.page()
    assert code == 0
    assert any("app.json" in text for text in told)
    assert seen
    told |= {text for process in seen for text in process}
    assert secrets_in(place, said, page.text, *told, page.addresses[-1]) == []
    link = parse_qs(urlsplit(place.browser.opened[0]).query)
    assert set(link) == {
        *("response_type", "client_id", "redirect_uri", "state", "scope"),
        *("code_challenge", "code_challenge_method"),
    }
    with_state = [text for text in told if link["state"][0] in text]
    assert all(place.browser.command in text and "HOME=" not in text for text in with_state), "its arguments alone"


FAILURES: dict[str, tuple[tuple[str, ...], dict[str, Any], int]] = {
    "a wrong secret": (("grant", "app.json", "user.json", "notes"), {"secret": f"wrong-{SECRET}"}, 6),
    "no token endpoint": (("grant", "app.json", "user.json", "notes"), {"token_uri": "http://127.0.0.1:1/token"}, 7),
    "the secret for an address": (("grant", "app.json", "user.json"), {"auth_uri": SECRET}, 3),
    "the secret for a method": (("grant", "app.json", "user.json"), {"client_auth": SECRET}, 3),
    "files swapped": (("show", "app.json"), {}, 3),
    "a user for a client": (("token", "user.json", "user.json"), {}, 3),
    "a grant that is over": (("token", "app.json", "user.json"), {}, 6),
    "a refresh that is refused": (("refresh", "app.json", "user.json"), {}, 6),
    "a call whose refresh is refused": (("call", "app.json", "user.json", "http://127.0.0.1:1", "--verbose"), {}, 6),
    "a call without the client": (("call", "user.json", "http://127.0.0.1:1"), {}, 3),
    "a set-up with a wrong secret": (
        ("doctor", "app.json", "user.json", "--refresh"),
        {"secret": f"wrong-{SECRET}", "revoke_uri": "http://127.0.0.1:1/revoke"},
        3,
    ),
    "a set-up in JSON": (("doctor", "app.json", "user.json", "--json"), {"token_uri": "http://127.0.0.1:1/t"}, 3),
    "a secret among the words": (("grant", "app.json", "user.json", f"--secret={SECRET}"), {}, 2),
    "a file that would be overwritten": (
        ("scaffold", "app.json", "--id", "other", "--secret-file", "secret.txt"),
        {},
        9,
    ),
    "a folder that is not there": (("scaffold", "no/app.json", "--secret-file", "secret.txt"), {}, 3),
    "an address of another kind": (
        ("scaffold", "new.json", "--secret-file", "secret.txt", "--auth-uri", "javascript:1"),
        {},
        2,
    ),
}


@pytest.mark.parametrize(("argv", "changed", "code"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_command_that_fails_shows_no_secret(
    place: Place, argv: tuple[str, ...], changed: dict[str, Any], code: int
) -> None:
    place.client(**changed)
    place.user(expires_at="2001-01-01T00:00:00Z")
    place.writes("secret.txt", SECRET)
    if argv[0] == "grant":
        (place.folder / "user.json").unlink()
    ended, said, told = await watched(place, *argv)
    assert ended == code, said
    typed = {SECRET} if SECRET in " ".join(argv) else set()  # by the person, whom the shell cannot be kept from telling
    assert SECRET not in said
    assert set(secrets_in(place, said, *told)) <= typed


async def test_what_a_command_was_told_in_private_stays_private(place: Place) -> None:
    code, said, told = await watched(place, "scaffold", "new.json", "--id", "i", "--secret-file", "-", lines=(SECRET,))
    assert code == 0
    assert json.loads((place.folder / "new.json").read_text())["secret"] == SECRET
    assert secrets_in(place, said, *told) == []


async def test_debug_output_shows_no_secret(place: Place) -> None:
    """What a person turns on to find a mistake: asyncio's debug mode, warnings, the traceback of a mistake of ours."""
    place.env |= {"PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "always", "SLYAPI_TRACEBACK": "1", "PYTHONDEVMODE": "1"}
    url = f"{place.provider.origin}/api/me"
    for argv in (
        *(("grant", "app.json", "user.json", "notes"), ("refresh", "app.json", "user.json")),
        *(("call", "app.json", "user.json", url), ("call", "app.json", "user.json", url, "--verbose")),
    ):
        code, said, told = await watched(place, *argv)
        assert code == 0, said
        assert secrets_in(place, said, *told) == []


def files_in(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


async def test_nothing_is_left_but_the_files_that_were_asked_for(place: Place, tmp_path: Path) -> None:
    for argv, code in (
        (("grant", "app.json", "user.json", "notes"), 0),
        (("refresh", "app.json", "user.json"), 0),
        (("grant", "app.json", "user.json"), 9),
        (("scaffold", "app.json", "--id", "other"), 9),
    ):
        assert (await watched(place, *argv))[0] == code
    assert files_in(tmp_path) == {Path("folder/app.json"), Path("folder/user.json"), Path("stand-in-browser")}
    assert os.stat(place.folder / "user.json").st_mode & 0o077 == 0
