"""The two wizards as libraries call them from their own `__main__`: on a terminal and through a pipe."""
from __future__ import annotations

import asyncio
import stat

import pytest

import SlyAPI.flow
from tests.support.place import Place, failure, secrets_in
from tests.support.program import Ended

LIBRARY = '''\
import asyncio, sys, inspect
from enum import Enum

before = dict(globals())
from SlyAPI.flow import *
new = {name for name in globals() if name not in before and name != "before"}
assert new == {"grant_wizard", "scaffold_wizard"}, new
assert all(globals()[name] is value for name, value in before.items())


class Scopes:
    """What this library may ask for."""

    READ = "weather.read"
    NOTES = "notes"
    _hidden = "hidden"

    def method(self) -> None: ...


class Scope(Enum):
    READ = "weather.read"
    NOTES = "notes"
    SAME = "notes"


class Nothing: ...


async def main(args: list[str]) -> None:
    match args:
        case ["grant", scopes, *more]:
            await grant_wizard(eval(scopes), *map(eval, more))
        case ["scaffold"]:
            scaffold_wizard("OAuth2", {"auth_uri": "https://a.example/a", "token_uri": "https://a.example/t"})
        case ["scaffold", kind]:
            scaffold_wizard(eval(kind), override={"more": [1]})


asyncio.run(main(sys.argv[1:]))
print("done")
'''
OAUTH1 = ["key", "secret", "request_uri", "authorize_uri", "access_uri"]


@pytest.fixture
def library(place: Place) -> Place:
    place.writes("library.py", LIBRARY)
    return place


async def piped(place: Place, *argv: str, lines: tuple[str, ...]) -> Ended:
    child = await place.starts("library.py", *argv, stdin="pipe")
    for line in lines:
        child.types(line)
    assert child.process.stdin is not None
    child.process.stdin.close()
    return await child.ends()


def test_the_star_brings_the_wizards_alone() -> None:
    assert sorted(SlyAPI.flow.__all__) == ["grant_wizard", "scaffold_wizard"]
    assert asyncio.iscoroutinefunction(SlyAPI.flow.grant_wizard)
    assert not asyncio.iscoroutinefunction(SlyAPI.flow.scaffold_wizard)


# grant_wizard


@pytest.mark.parametrize("kind", ["Scopes", "Scope"])
@pytest.mark.parametrize(
    ("answer", "scopes"),
    [("1", ["weather.read"]), ("2,1", ["notes", "weather.read"]), ("1-2", ["weather.read", "notes"]), ("", None)],
)
async def test_the_menu_is_the_public_values_of_the_class(
    library: Place, kind: str, answer: str, scopes: list[str] | None
) -> None:
    terminal = await library.program_on_terminal("library.py", "grant", kind)
    for question in ("Client file [app.json]: ", "User file to write [user.json]: "):
        await terminal.says(question)
        terminal.types("")
    menu = await terminal.says("Enter for all: ")
    assert "hidden" not in menu
    assert "method" not in menu
    assert "1  READ " in menu
    assert "weather.read" in menu
    terminal.types(answer)
    await terminal.says("Granted. user.json was written")
    await terminal.says("done")
    assert await terminal.ends() == 0
    assert library.reads("user.json")["scopes"] == (scopes or ["weather.read", "notes"])
    assert not secrets_in(library, terminal.screen)


async def test_a_wrong_choice_is_told_and_asked_for_again(library: Place) -> None:
    terminal = await library.program_on_terminal("library.py", "grant", "Scopes")
    for question, answer in (("Client", ""), ("User", "")):
        await terminal.says(question)
        terminal.types(answer)
    for wrong in ("3", "0", "2-1", "x", "1-", "-1", "99999999999999999999"):
        await terminal.says("Enter for all: ")
        terminal.types(wrong)
        assert wrong in await terminal.says("is not a list")
    await terminal.says("Enter for all: ")
    terminal.types("2")
    await terminal.says("Granted.")
    assert library.reads("user.json")["scopes"] == ["notes"]


@pytest.mark.posix
async def test_through_a_pipe_as_on_a_terminal(library: Place) -> None:
    ended = await piped(library, "grant", "Scopes", lines=("app.json", "mine.json", "1"))
    assert (ended.code, ended.out) == (0, "done\n")
    assert library.reads("mine.json")["scopes"] == ["weather.read"]
    assert stat.S_IMODE((library.folder / "mine.json").stat().st_mode) == 0o600


async def test_without_a_class_scopes_are_typed_and_without_scopes_nothing_is_asked(library: Place) -> None:
    ended = await piped(library, "grant", "None", lines=("app.json", "user.json", "notes weather.read"))
    assert ended.code == 0
    assert library.reads("user.json")["scopes"] == ["notes", "weather.read"]
    library.client(scopes=["notes"])
    ended = await piped(library, "grant", "Nothing", lines=("app.json", "other.json"))
    assert ended.code == 0
    assert library.reads("other.json")["scopes"] == ["notes"]


async def test_a_dry_run_asks_all_and_does_nothing(library: Place) -> None:
    before = library.files()
    ended = await piped(library, "grant", "Scopes", "True", "'OAuth2'", lines=("app.json", "user.json", "1"))
    assert (ended.code, ended.out) == (0, "done\n")
    assert "weather.read" in ended.err
    assert library.files() == before
    assert library.browser.opened == []
    assert library.provider.log == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("absent.json",), ("absent.json", "does not exist")),
        (("app.json", "."), ("folder",)),
        (("app.json", "app.json"), ("same file",)),
        (("library.py",), ("library.py", "JSON")),
    ],
)
async def test_a_file_that_is_no_good_ends_it_in_a_message(
    library: Place, lines: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = await piped(library, "grant", "Scopes", lines=lines)
    assert ended.out == ""
    assert ended.code in (2, 3)
    failure(library, ended, ended.code, *words)
    assert library.browser.opened == []


@pytest.mark.parametrize("answer", ["n", "", "x"])
async def test_an_existing_user_file_is_kept_unless_yes(library: Place, answer: str) -> None:
    before = library.user()
    ended = await piped(library, "grant", "Scopes", lines=("app.json", "user.json", answer))
    assert (ended.code, ended.out) == (0, "done\n")
    assert "user.json was kept" in ended.err
    assert library.reads("user.json") == before
    assert library.browser.opened == []


async def test_an_existing_user_file_is_replaced_after_a_yes(library: Place) -> None:
    before = library.user()
    ended = await piped(library, "grant", "Scopes", lines=("app.json", "user.json", "y", "1"))
    assert ended.code == 0
    assert library.reads("user.json") != before


async def test_a_no_at_the_provider_is_told_in_its_code(library: Place) -> None:
    library.provider.consent = "deny"
    ended = await piped(library, "grant", "Scopes", lines=("app.json", "user.json", "1"))
    assert ended.out == ""
    failure(library, ended, 4, "access_denied", talk=True)


async def test_a_kind_that_is_not_spoken_is_told(library: Place) -> None:
    ended = await piped(library, "grant", "None", "False", "'OAuth3'", lines=("app.json",))
    failure(library, ended, 2, "OAuth3")


async def test_the_client_file_of_another_kind_is_named(library: Place) -> None:
    ended = await piped(library, "grant", "None", "False", "'OAuth1'", lines=("app.json",))
    failure(library, ended, 3, "a client file", "scaffold oauth1")


@pytest.mark.parametrize("prompt", ["Client file", "User file", "Enter for all", "page here:"])
async def test_ctrl_c_inside_a_librarys_event_loop_is_one_line(library: Place, prompt: str) -> None:
    library.browser.follows = False
    before = library.files()
    terminal = await library.program_on_terminal("library.py", "grant", "Scopes")
    for question in ("Client file", "User file", "Enter for all", "page here:"):
        await terminal.says(question)
        if question == prompt:
            break
        terminal.types("")
    await terminal.presses_ctrl_c()
    assert await terminal.ends() == 130
    assert terminal.screen.count("Stopped.") == 1
    assert "Traceback" not in terminal.screen
    assert "done" not in terminal.screen
    assert library.files() == before


# scaffold_wizard


@pytest.mark.posix
async def test_the_override_is_in_the_file(library: Place) -> None:
    ended = await piped(library, "scaffold", lines=("new.json",))
    assert (ended.code, ended.out) == (0, "done\n")
    uris = {"auth_uri": "https://a.example/a", "token_uri": "https://a.example/t"}
    assert library.reads("new.json") == {"id": "", "secret": ""} | uris
    assert stat.S_IMODE((library.folder / "new.json").stat().st_mode) == 0o600
    assert "Fill in id, secret" in ended.err


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("None", ["id", "secret", "auth_uri", "token_uri"]), ("'OAuth1'", OAUTH1)],
)
async def test_each_kind_has_its_template(library: Place, kind: str, keys: list[str]) -> None:
    assert (await piped(library, "scaffold", kind, lines=("new.json",))).code == 0
    assert library.reads("new.json") == dict.fromkeys(keys, "") | {"more": [1]}


async def test_a_client_file_is_overwritten_after_a_yes_only(library: Place) -> None:
    before = library.reads("app.json")
    ended = await piped(library, "scaffold", lines=("app.json", "n"))
    assert ended.code == 0
    assert library.reads("app.json") == before
    assert (await piped(library, "scaffold", lines=("app.json", "y"))).code == 0
    assert library.reads("app.json")["auth_uri"] == "https://a.example/a"


async def test_scaffolding_where_nothing_can_be_written(library: Place) -> None:
    ended = await piped(library, "scaffold", lines=("absent/app.json",))
    failure(library, ended, 3, "absent/app.json")
    failure(library, await piped(library, "scaffold", lines=(".",)), 3, "folder")
