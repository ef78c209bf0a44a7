"""The command line where files cannot be written: found before a refresh could cost the grant."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from SlyAPI import OAuth2User
from tests.support.place import Place, place_at
from tests.support.program import Ended

pytestmark = [pytest.mark.slow, pytest.mark.posix]

AS_NOBODY = """
import os, sys
# what is loaded late, and perhaps from where nobody may read
import encodings.ascii, encodings.idna, encodings.latin_1
import concurrent.futures.thread
import encodings.punycode, encodings.unicode_escape, encodings.utf_8_sig
import SlyAPI.cli.grant_command, SlyAPI.oauth2.client.app, SlyAPI.cli.token_commands
import SlyAPI.transport.requests, SlyAPI.stores.file, SlyAPI.cli.call.command
import SlyAPI.webapi.webapi, SlyAPI.web.masking, SlyAPI.transport.errors, SlyAPI.cli.arguments, SlyAPI.cli.demo.command
from SlyAPI.cli.main import main
if os.geteuid() == 0:
    os.setgroups([]), os.setegid(65534), os.seteuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path) as place:
        yield place


@pytest.fixture
def open_folder() -> Generator[Path, None, None]:
    """A folder that every account of the machine can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


async def as_nobody(place: Place, *argv: str) -> Ended:
    """The command line by an account that owns nothing here."""
    child = await place.starts("-c", AS_NOBODY, *argv)
    return await child.ends()


def refreshes(place: Place) -> int:
    return place.provider.refreshes


async def granted_in(place: Place, folder: Path, mode: int) -> OAuth2User:
    """A grant whose files lie in `folder`, readable as `mode` says."""
    ended = await place.grants()
    assert ended.code == 0, ended.err
    for name in ("app.json", "user.json"):
        shutil.copy(place.folder / name, folder / name)
        (folder / name).chmod(mode)
    return OAuth2User.from_json_file(folder / "user.json")


@pytest.mark.parametrize("command", ["refresh", "token"])
async def test_in_a_read_only_folder_nothing_is_asked_that_could_not_be_saved(
    place: Place, open_folder: Path, command: str
) -> None:
    user = await granted_in(place, open_folder, 0o644)
    if command == "token":  # a good token needs no refresh and no writing
        open_folder.chmod(0o555)
        ended = await as_nobody(place, "token", f"{open_folder}/app.json", f"{open_folder}/user.json")
        assert (ended.code, ended.out.strip()) == (0, user.token)
        open_folder.chmod(0o755)
        user.expires_at = user.expires_at.replace(year=2020) if user.expires_at else None
        (open_folder / "user.json").write_text(json.dumps(user.to_dict()))
    open_folder.chmod(0o555)
    ended = await as_nobody(place, command, f"{open_folder}/app.json", f"{open_folder}/user.json")
    assert (ended.code, ended.out) == (3, "")
    assert "could not be written" in ended.err
    assert "Traceback" not in ended.err
    assert refreshes(place) == 0
    assert OAuth2User.from_json_file(open_folder / "user.json") == user


async def test_in_a_read_only_folder_a_call_whose_token_is_due_sends_nothing(place: Place, open_folder: Path) -> None:
    user = await granted_in(place, open_folder, 0o644)
    (open_folder / "user.json").write_text(json.dumps(user.to_dict() | {"expires_at": "2001-01-01T00:00:00Z"}))
    open_folder.chmod(0o555)
    words = (f"{open_folder}/app.json", f"{open_folder}/user.json")
    ended = await as_nobody(place, "call", *words, f"{place.provider.origin}/api/me")
    assert (ended.code, ended.out) == (3, "")
    assert "could not be written" in ended.err
    assert refreshes(place) == 0
    assert [seen for seen in place.provider.log if seen.endpoint == "api"] == []


async def test_in_a_read_only_folder_a_call_whose_token_is_refused_does_not_refresh(
    place: Place, open_folder: Path
) -> None:
    user = await granted_in(place, open_folder, 0o644)
    (open_folder / "user.json").write_text(json.dumps(user.to_dict() | {"token": "stale-token"}))
    open_folder.chmod(0o555)
    words = (f"{open_folder}/app.json", f"{open_folder}/user.json")
    ended = await as_nobody(place, "call", *words, f"{place.provider.origin}/api/me")
    assert (ended.code, ended.out) == (3, "")
    assert "could not be written" in ended.err
    assert refreshes(place) == 0


async def test_a_user_file_of_another_account_is_told_as_unreadable(place: Place, open_folder: Path) -> None:
    await granted_in(place, open_folder, 0o600)
    if os.geteuid() != 0:
        (open_folder / "user.json").chmod(0)
    (open_folder / "app.json").chmod(0o644)
    for command in (["show"], ["token", f"{open_folder}/app.json"], ["revoke", f"{open_folder}/app.json"]):
        ended = await as_nobody(place, *command, f"{open_folder}/user.json")
        assert (ended.code, ended.out) == (3, "")
        assert "permission denied" in ended.err
    assert refreshes(place) == 0


@pytest.fixture
def full_disk(tmp_path: Path) -> Generator[Path, None, None]:
    """A small disk; only root can make one, and tests/run is root where it sets everything up."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> None:
    with open(folder / "ballast", "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass


async def test_on_a_full_disk_a_refresh_is_not_asked_for_and_works_once_there_is_space(
    place: Place, full_disk: Path
) -> None:
    user = await granted_in(place, full_disk, 0o600)
    fill(full_disk)
    ended = await place.runs("refresh", str(full_disk / "app.json"), str(full_disk / "user.json"))
    assert (ended.code, ended.out) == (3, "")
    assert "No space left" in ended.err
    assert refreshes(place) == 0
    assert OAuth2User.from_json_file(full_disk / "user.json") == user
    (full_disk / "ballast").unlink()
    ended = await place.runs("refresh", str(full_disk / "app.json"), str(full_disk / "user.json"))
    assert ended.code == 0, ended.err
    assert OAuth2User.from_json_file(full_disk / "user.json") != user


async def test_on_a_full_disk_a_grant_ends_before_the_browser_opens(place: Place, full_disk: Path) -> None:
    fill(full_disk)
    ended = await place.runs("grant", "app.json", str(full_disk / "user.json"), "notes")
    assert (ended.code, ended.out) == (3, "")
    assert "No space left" in ended.err
    assert [seen.endpoint for seen in place.provider.log] == []
    assert sorted(path.name for path in full_disk.iterdir()) == ["ballast"]


@pytest.mark.parametrize("blocks", [0, 1, 3])
async def test_a_demo_whose_files_have_no_room_says_so(place: Place, blocks: int) -> None:
    ended = await place.shell(f"ulimit -f {blocks}; PYTHONDONTWRITEBYTECODE=1 slyapi demo --no-browser --folder shown")
    assert ended.code == 3 or (ended.code, blocks) == (0, 3), ended.err
    assert "Internal error" not in ended.err
    assert ended.code == 0 or "could not be written" in ended.err


async def test_a_demo_does_not_use_a_folder_that_it_may_not_look_into(place: Place, open_folder: Path) -> None:
    hidden = open_folder / "hidden"
    hidden.mkdir(0o300)
    ended = await as_nobody(place, "demo", "--no-browser", "--folder", str(hidden))
    assert ended.code == 2, ended.err
    assert "Internal error" not in ended.err
