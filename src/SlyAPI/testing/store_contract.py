"""The contract of a token store, as tests to run on yours: derive a class and give it a fixture `store`.

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self):
            return MyStore(...)

Needs pytest with pytest-asyncio (`asyncio_mode = "auto"`). `KeptStoreContract`, for a store on disk or on a server,
also needs the fixture `reopened`, a second object for the same place.

The rule: a test uses the public methods of a store only.
"""

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any, Literal

from ..errors import CredentialsNotFoundError, SupersededError

_NAMES = ("alice", "Alice", "a.b@example.com", "../up", "a/b", "ünï", "with space", "x" * 60, "-", "%41", ".", "con")


def _tokens(token: str) -> dict[str, Any]:
    return {"token": token, "refresh_token": "r-" + token, "expires_at": None, "token_type": "Bearer", "scopes": []}


def _ending(access: float | None, refresh: float | None) -> dict[str, Any]:
    """Tokens that end at these epoch seconds; None: the provider reported no end."""
    value = _tokens("1") | {"expires_at": _time(access)}
    return value if refresh is None else value | {"refresh_expires_at": _time(refresh)}


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def _found(store: Any, token: Literal["access", "refresh"], before: float, *after: float) -> set[str]:
    return {name async for page in store.ending(token, before, *after) for name, _ in page}


async def _is_refused(store: Any, old: Any, new: Any) -> bool:
    try:
        await store.replace("alice", old, new)
    except SupersededError:
        return True
    return False


class StoreContract:
    """Tests of one store; `store` is fresh and empty for each."""

    async def test_what_was_saved_is_loaded(self, store: Any) -> None:
        await store.save("alice", _tokens("1") | {"extra": {"deep": [1, None, "ü"]}})
        assert await store.load("alice") == _tokens("1") | {"extra": {"deep": [1, None, "ü"]}}

    async def test_a_later_save_replaces_an_earlier_one(self, store: Any) -> None:
        await store.save("alice", _tokens("1"))
        await store.save("alice", _tokens("2"))
        assert await store.load("alice") == _tokens("2")
        assert await store.names() == ["alice"]

    async def test_an_error_about_a_missing_user_names_the_user(self, store: Any) -> None:
        message = ""
        try:
            await store.load("nobody")
        except CredentialsNotFoundError as error:
            message = str(error)
        assert "nobody" in message

    async def test_what_the_caller_changes_after_a_save_is_not_changed_in_the_store(self, store: Any) -> None:
        value = _tokens("1")
        await store.save("alice", value)
        value["token"] = "changed"
        (await store.load("alice"))["token"] = "changed"
        assert await store.load("alice") == _tokens("1")

    async def test_names_of_every_kind_are_kept_apart(self, store: Any) -> None:
        for number, name in enumerate(_NAMES):
            await store.save(name, _tokens(str(number)))
        assert sorted(await store.names()) == sorted(_NAMES)
        for number, name in enumerate(_NAMES):
            assert await store.load(name) == _tokens(str(number))

    async def test_a_deleted_user_is_gone_and_deleting_again_is_no_error(self, store: Any) -> None:
        await store.save("alice", _tokens("1"))
        await store.save("bob", _tokens("2"))
        await store.delete("alice")
        await store.delete("alice")
        assert await store.names() == ["bob"]

    async def test_an_empty_store_has_no_names(self, store: Any) -> None:
        assert await store.names() == []

    async def test_a_value_is_replaced_by_a_caller_that_knows_it(self, store: Any) -> None:
        await store.replace("alice", None, _tokens("1"))
        await store.replace("alice", await store.load("alice"), _tokens("2"))
        assert await store.load("alice") == _tokens("2")
        await store.replace("alice", _tokens("1"), _tokens("2"))  # again, as after a lost reply
        assert await store.load("alice") == _tokens("2")

    async def test_what_is_newer_or_was_deleted_is_not_replaced(self, store: Any) -> None:
        await store.save("alice", _tokens("1"))
        known = await store.load("alice")
        await store.save("alice", _tokens("2"))
        for old in (known, None):
            assert await _is_refused(store, old, _tokens("late"))
        assert await store.load("alice") == _tokens("2")
        await store.delete("alice")
        assert await _is_refused(store, _tokens("2"), _tokens("late"))
        assert await store.names() == []

    async def test_replacing_a_value_by_itself_changes_nothing_and_fails_where_it_is_another(self, store: Any) -> None:
        """What a refresh does before it sends a refresh token. With None as both values nothing is left."""
        await store.replace("bob", None, None)
        assert await store.names() == []
        await store.save("alice", _tokens("1"))
        known = await store.load("alice")
        await store.replace("alice", known, known)
        assert await store.load("alice") == _tokens("1")
        assert await _is_refused(store, None, None)
        await store.save("alice", _tokens("2"))
        assert await _is_refused(store, known, known)
        assert await store.load("alice") == _tokens("2")
        await store.delete("alice")
        assert await _is_refused(store, known, known)
        assert await store.names() == []

    async def test_one_holder_at_a_time_has_a_lock(self, store: Any) -> None:
        await store.save("alice", _tokens("0"))
        inside = most = 0

        async def count() -> None:
            nonlocal inside, most
            async with store.lock("alice"):
                inside += 1
                most = max(most, inside)
                value = await store.load("alice")
                await store.save("alice", _tokens(str(int(value["token"]) + 1)))
                inside -= 1

        await asyncio.gather(*(count() for _ in range(8)))
        assert most == 1
        assert (await store.load("alice"))["token"] == "8"

    async def test_a_lock_holds_between_threads_that_have_a_loop_each(self, store: Any) -> None:
        await store.save("alice", _tokens("0"))

        async def count() -> None:
            for _ in range(3):
                async with store.lock("alice"):
                    value = await store.load("alice")
                    await store.save("alice", _tokens(str(int(value["token"]) + 1)))

        threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(3)]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
        assert (await store.load("alice"))["token"] == "9"

    async def test_a_lock_that_was_just_taken_has_not_expired(self, store: Any) -> None:
        for lock in (store.lock("alice"), store.task_lock("sweep")):
            async with lock as lease:
                assert lease is None or not lease.expired()

    async def test_locks_of_two_users_do_not_wait_for_each_other(self, store: Any) -> None:
        async with store.lock("alice"), asyncio.timeout(10), store.lock("bob"):
            pass

    async def test_a_lock_is_freed_by_an_error_inside_it(self, store: Any) -> None:
        try:
            async with store.lock("alice"):
                raise LookupError
        except LookupError:
            pass
        async with asyncio.timeout(10), store.lock("alice"):
            pass

    async def test_a_lock_is_freed_when_its_holder_is_cancelled(self, store: Any) -> None:
        held = asyncio.Event()

        async def hold() -> None:
            async with store.lock("alice"):
                held.set()
                await asyncio.Event().wait()

        holder = asyncio.create_task(hold())
        await held.wait()
        waiter = asyncio.create_task(hold())
        await asyncio.sleep(0)
        waiter.cancel()
        holder.cancel()
        await asyncio.wait([holder, waiter])
        async with asyncio.timeout(10), store.lock("alice"):
            pass

    async def test_users_are_counted_and_named_one_by_one(self, store: Any) -> None:
        for name in _NAMES:
            await store.save(name, _tokens("1"))
        await store.delete(_NAMES[0])
        assert await store.count() == len(_NAMES) - 1
        assert sorted([name async for name in store.each_name()]) == sorted(_NAMES[1:])

    async def test_no_user_whose_token_ends_in_a_time_is_left_out(self, store: Any) -> None:
        for number, name in enumerate(_NAMES):
            await store.save(name, _ending(1000.0 + number, 2000.5 + number))
        await store.save("none", _ending(None, None))
        for number, name in enumerate(_NAMES):
            assert name in await _found(store, "access", 1000 + number, 999 + number)
            assert name in await _found(store, "refresh", 2000.5 + number, 2000)
        assert set(_NAMES) <= await _found(store, "refresh", 1e12)

    async def test_what_the_last_change_of_a_user_says_is_found(self, store: Any) -> None:
        await store.save("alice", _ending(5000, None))
        await store.replace("alice", await store.load("alice"), _ending(3000, 4000))
        assert "alice" in await _found(store, "access", 3000)
        assert "alice" in await _found(store, "refresh", 4000)
        await store.save("alice", {"access_token": "a", "expires_in": 10, "refresh_token_expires_in": 20})
        for token in ("access", "refresh"):  # a token reply, stored unchanged: its end is known to who loads it
            assert "alice" in await _found(store, token, 1e12)
        await store.delete("alice")
        assert not [name for name in await _found(store, "access", 1e12) if name == "alice"]

    async def test_a_background_task_is_done_by_one_at_a_time(self, store: Any) -> None:
        await store.save("alice", _tokens("1"))
        async with store.task_lock("sweep"), asyncio.timeout(10), store.lock("alice"):
            inside = asyncio.create_task(_sweeps(store))
            assert not (await asyncio.wait([inside], timeout=0.1))[0]
        await asyncio.wait_for(inside, 60)
        assert await store.names() == ["alice"]

    async def test_an_entry_loads_saves_and_deletes_its_user(self, store: Any) -> None:
        await store.save("alice", _tokens("1"))
        entry = store.user("alice")
        user = await entry.load()
        user.token = "2"
        await entry.save(user)
        assert (await store.load("alice"))["token"] == "2"
        await entry.delete()
        assert await store.names() == []


class KeptStoreContract(StoreContract):
    """The same for a store that outlives its object; `reopened` is another object for the same place."""

    async def test_what_was_saved_is_there_for_the_next_process(self, store: Any, reopened: Any) -> None:
        await store.save("alice", _tokens("1"))
        assert await reopened.load("alice") == _tokens("1")
        assert await reopened.names() == ["alice"]

    async def test_a_background_task_is_done_by_one_of_two_objects(self, store: Any, reopened: Any) -> None:
        await store.save("alice", _tokens("1"))
        async with store.task_lock("sweep"):
            inside = asyncio.create_task(_sweeps(reopened))
            assert not (await asyncio.wait([inside], timeout=0.1))[0]
        await asyncio.wait_for(inside, 60)

    async def test_two_objects_for_one_place_share_the_lock(self, store: Any, reopened: Any) -> None:
        await store.save("alice", _tokens("0"))

        async def count(one: Any) -> None:
            for _ in range(4):
                async with one.lock("alice"):
                    value = await one.load("alice")
                    await asyncio.sleep(0)
                    await one.save("alice", _tokens(str(int(value["token"]) + 1)))

        await asyncio.gather(count(store), count(reopened))
        assert (await store.load("alice"))["token"] == "8"

    async def test_of_many_who_replace_the_same_at_once_one_does(self, store: Any, reopened: Any) -> None:
        await store.save("alice", _tokens("0"))
        refused = await asyncio.gather(
            *(_is_refused(one, _tokens("0"), _tokens(f"{n}")) for n, one in enumerate([store, reopened] * 4, 1))
        )
        assert refused.count(False) == 1
        assert (await store.load("alice"))["token"] == str(refused.index(False) + 1)

    async def test_of_many_who_save_the_first_at_once_one_does(self, store: Any, reopened: Any) -> None:
        refused = await asyncio.gather(
            *(_is_refused(one, None, _tokens(f"{n}")) for n, one in enumerate([store, reopened] * 4, 1))
        )
        assert refused.count(False) == 1


class ServedStoreContract(KeptStoreContract):
    """The same for a store that several machines share; the lease of `store` is half a second."""

    async def test_a_holder_paused_past_its_lock_overwrites_nothing(self, store: Any, reopened: Any) -> None:
        await store.save("alice", _tokens("1"))
        paused, go_on = threading.Event(), threading.Event()

        async def hold() -> bool:
            async with store.lock("alice") as lease:
                known = await store.load("alice")
                paused.set()
                go_on.wait(60)  # blocks its event loop, as a stopped process would
                assert lease.expired()
                return await _is_refused(store, known, _tokens("late"))

        holder = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(hold())))
        await asyncio.to_thread(paused.wait, 60)
        try:
            async with asyncio.timeout(60), reopened.lock("alice"):
                await reopened.replace("alice", await reopened.load("alice"), _tokens("2"))
                go_on.set()
                assert await holder
                assert await reopened.load("alice") == _tokens("2")
                inside = asyncio.create_task(_enters(store))
                # the late holder did not release the lock of another
                assert not (await asyncio.wait([inside], timeout=0.2))[0]
        finally:
            go_on.set()
        await inside

    async def test_a_lock_that_is_held_for_longer_than_a_lease_stays_held(self, store: Any, reopened: Any) -> None:
        async with store.lock("alice") as lease:
            inside = asyncio.create_task(_enters(reopened))
            assert not (await asyncio.wait([inside], timeout=1.5))[0]
            assert not lease.expired()
        await asyncio.wait_for(inside, 60)


async def _enters(store: Any) -> None:
    async with store.lock("alice"):
        pass


async def _sweeps(store: Any) -> None:
    async with store.task_lock("sweep"):
        pass
