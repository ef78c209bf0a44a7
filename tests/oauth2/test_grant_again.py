"""The next step of a grant that ended: a command that can be copied, with the files or the store where known."""
from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import GrantEndedError, OAuth2, OAuth2App
from SlyAPI.errors import CredentialsNotFoundError
from SlyAPI.stores import EncryptedStore, FileStore, MemoryStore, SqliteStore, TokenStore
from SlyAPI.web.next_steps import PROGRAM
from tests.support.refreshing import INVALID_GRANT

if TYPE_CHECKING:
    from tests.support.refreshing import Place

AGAIN = f"Grant again: {PROGRAM} grant"


async def step_of(place: Place, app: OAuth2App | Path | str, user: Any) -> str:
    place.answers = [INVALID_GRANT]
    with pytest.raises(GrantEndedError) as caught:
        await OAuth2(app, user, clock=place.clock).refresh_now()
    return caught.value.next_step


def app_file(place: Place, name: str = "app.json") -> str:
    Path(name).write_text(json.dumps(place.app.to_dict()))
    return name


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_it_names_the_two_files(place: Place) -> None:
    place.folder = Path()
    assert await step_of(place, app_file(place), place.file()) == f"{AGAIN} app.json user.json"


@pytest.mark.posix
async def test_a_file_below_is_named_from_here_and_another_one_whole(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    app = app_file(place, "my app.json")
    Path("users").mkdir()
    place.folder = Path("users")
    assert await step_of(place, app, place.file().absolute()) == f"{AGAIN} 'my app.json' users/user.json"
    place.folder = tmp_path_factory.mktemp("elsewhere")
    assert await step_of(place, app, file := place.file()) == f"{AGAIN} 'my app.json' {file}"


async def test_what_is_not_known_is_left_out(place: Place) -> None:
    place.folder = Path()
    assert await step_of(place, place.app, place.file()) == f"{AGAIN} --user user.json"
    assert await step_of(place, place.app, place.user()) == AGAIN
    assert await step_of(place, app_file(place), place.user()) == f"{AGAIN} app.json"


STORES: dict[str, Callable[[], TokenStore]] = {
    "sqlite:users.db": lambda: SqliteStore("users.db"),
    "sqlite:my%20users.db": lambda: SqliteStore("my users.db"),
    "file:users": lambda: FileStore("users"),
    "file:more": lambda: EncryptedStore(FileStore("more"), [EncryptedStore.new_key()]),
    "URL": MemoryStore,
}


@pytest.mark.parametrize("url", STORES)
async def test_it_names_the_store_and_the_user(place: Place, url: str) -> None:
    entry = STORES[url]().user("alice")
    await entry.save(place.user())
    assert await step_of(place, app_file(place), entry) == f"{AGAIN} app.json --store {url} --name alice"


async def test_a_strange_name_is_quoted_and_controls_no_terminal(place: Place) -> None:
    entry = MemoryStore().user("it's\x1b[31m")
    await entry.save(place.user())
    step = await step_of(place, place.app, entry)
    assert step.isprintable()
    assert shlex.split(step)[-2:] == ["--name", "it's [31m"]


async def test_a_user_file_that_is_missing_is_made_with_the_client_file_that_is_there(place: Place) -> None:
    with pytest.raises(CredentialsNotFoundError) as caught:
        OAuth2(app_file(place), "alice.json")
    assert caught.value.next_step == f"Make one with: {PROGRAM} grant app.json alice.json"
    with pytest.raises(CredentialsNotFoundError) as caught:
        OAuth2(place.app, "alice.json")
    assert caught.value.next_step == f"Make one with: {PROGRAM} grant --user alice.json"
