"""grant with a browser on another machine: the person pastes what it ended on."""
from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.place import Place, failure, redirect_uri_in, secrets_in, state_in


async def pasted(place: Place, *lines: str, code: int = 0) -> str:
    """What grant --paste says about these lines, in which {STATE}, {CODE} and {ISS} stand for the real ones."""
    child = await place.slyapi("grant", "app.json", "user.json", "notes", "--paste", stdin="pipe")
    link = await child.says("/authorize?")
    place.browser.opened.append(link)
    if "{CODE}" in "".join(lines):
        final = parse_qs(urlsplit(await place.browser.redirected(link)).query)
        real = {"CODE": final["code"][0], "ISS": final["iss"][0]}
    else:
        real = {}
    for line in lines:
        child.types(line.format(**real, STATE=state_in(link), LINK=link))
    assert child.process.stdin is not None
    child.process.stdin.close()
    ended = await child.ends()
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    assert not secrets_in(place, ended.err, ended.out)
    return ended.err


@pytest.mark.parametrize(
    "line",
    [
        "http://127.0.0.1/?code={CODE}&state={STATE}&iss={ISS}",
        "?state={STATE}&code={CODE}",
        "code={CODE}&state={STATE}",
        "  http://localhost:8080/?code={CODE}&state={STATE}#fragment  ",
        "{CODE}",
    ],
)
async def test_what_a_person_may_paste(place: Place, line: str) -> None:
    await pasted(place, "", line)
    assert place.reads("user.json")["scopes"] == ["notes"]


async def test_for_a_paste_nothing_listens_and_port_0_is_not_sent(place: Place) -> None:
    await pasted(place, "{CODE}")
    assert redirect_uri_in(place.browser.opened[0]) == place.exchanged["redirect_uri"] == "http://127.0.0.1"


@pytest.mark.parametrize("wrong", ["code={CODE}&state=guessed", "https://a.example/?x=1", "{LINK}", "hello there"])
async def test_a_wrong_paste_is_told_and_asked_for_again(place: Place, wrong: str) -> None:
    said = await pasted(place, wrong, "code={CODE}&state={STATE}")
    assert "Paste the address" in said


async def test_a_no_may_be_pasted(place: Place) -> None:
    said = await pasted(place, "http://127.0.0.1/?error=access_denied&state={STATE}", code=4)
    assert "access_denied" in said
    assert place.files() == {"app.json"}


async def test_an_end_of_the_input_names_what_is_missing(place: Place) -> None:
    assert "user.json was not written" in await pasted(place, code=2)


async def test_an_endless_wrong_input_comes_to_an_end(place: Place) -> None:
    ended = await place.shell("yes wrong=1 | slyapi grant app.json user.json notes --paste")
    failure(place, ended, 2, talk=True)
    assert ended.err.count("Paste the address") == 3
    ended = await place.shell("slyapi grant app.json user.json notes --paste </dev/zero")
    failure(place, ended, 2, talk=True)


async def test_a_redirect_uri_that_is_not_here_is_pasted(place: Place) -> None:
    uri = "https://app.example/cb"
    place.provider.add_client("web", place.client()["secret"], [uri])
    place.client(id="web", redirect_uri=uri)
    child = await place.slyapi("grant", "app.json", "user.json", "notes", stdin="pipe")
    link = await child.says("/authorize?")
    child.types(await place.browser.redirected(link))
    assert (await child.ends()).code == 0
    assert place.exchanged["redirect_uri"] == uri
