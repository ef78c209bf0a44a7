"""All signers of one user share the tokens, what went wrong, and the refresh; hooks hear of new tokens."""
from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import OAuth2, OAuth2User
from SlyAPI.errors import CredentialsError, TokenError
from SlyAPI.stores import FileStore
from tests.support.refreshing import status

if TYPE_CHECKING:
    from tests.support.refreshing import Place


def signers(place: Place) -> list[OAuth2]:
    """An `OAuth2` for a user file, and what it was copied to."""
    auth = OAuth2(place.app, place.file(), clock=place.clock)
    pickled: list[OAuth2] = pickle.loads(pickle.dumps([auth, auth, FileStore(place.folder).user("user")]))[:2]
    return [auth, OAuth2(place.app, place.folder / "user.json", clock=place.clock), copy.deepcopy(auth), *pickled]


async def test_signers_of_one_file_and_their_copies_send_one_request(place: Place) -> None:
    tokens = await asyncio.gather(*(auth.token() for auth in signers(place)))
    assert tokens == ["new-token-1"] * 5
    assert len(place.forms) == 1


async def test_what_went_wrong_is_known_to_all_of_them(place: Place) -> None:
    place.answers = [status(503)] * 9
    auths = signers(place)
    for _ in range(2):
        with pytest.raises(TokenError, match="HTTP 503"):
            await auths[0].token()
    for auth in auths:
        with pytest.raises(TokenError, match=r"HTTP 503.*Remembered: no request for 1 s") as caught:
            await auth.token()
        assert (caught.value.tries, 0 < (caught.value.retry_after or 0) <= 1) == (0, True)
    assert len(place.forms) == 2


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda auths: pickle.loads(pickle.dumps(auths))])
async def test_tokens_in_memory_stay_one_among_copies(place: Place, how: Any) -> None:
    auth = OAuth2(place.app, place.user(), clock=place.clock)
    one, other = how([auth, auth])
    assert await one.token() == await other.token() == "new-token-1"
    assert len(place.forms) == 1


async def test_a_user_issued_to_another_client_is_not_sent_and_the_error_names_both(place: Place) -> None:
    auth = OAuth2(place.app, place.file(), clock=place.clock)
    await auth.token()
    app = place.app
    app.id = "another"
    with pytest.raises(CredentialsError, match=r"issued to client 'id'.*this client is client 'another'"):
        await OAuth2(app, place.folder / "user.json", clock=place.clock).token()
    assert len(place.forms) == 1


async def test_no_call_waits_for_a_hook_that_is_a_coroutine_and_closing_does(place: Place) -> None:
    heard, go = list[str](), asyncio.Event()

    async def hook(user: OAuth2User) -> None:
        await go.wait()
        heard.append(user.token)

    api = place.api(place.file(), on_refresh=hook)
    await api.get_json("/")
    assert heard == []
    go.set()
    await api.close()
    assert heard == ["new-token-1"]


async def test_for_tokens_in_memory_a_hook_that_fails_is_called_again_as_a_save_is(place: Place) -> None:
    heard, known = list[str](), list[bool]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)

    def hook(user: OAuth2User) -> None:
        heard.append(user.token)
        known.append(auth.not_saved is not None)
        if len(heard) < 3:
            raise OSError("no database")

    auth = OAuth2(place.app, place.user(), hook, clock=place.clock)
    assert await auth.token() == "new-token-1"
    await auth.wait_for_refresh()
    assert (heard, known) == (["new-token-1"] * 3, [False, True, True])
    assert auth.not_saved is None
