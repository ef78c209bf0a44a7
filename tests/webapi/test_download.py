"""Downloads: complete or not at all, continued within a call where the server says that it is the same body."""
from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI import ApiError, Auth, HeaderApiKey, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError, LimitError, NetworkError, SaveError
from SlyAPI.limits import Limits

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve, Server

CONTENT = os.urandom(300_000)
OLD = "Mon, 01 Jan 2024 00:00:00 GMT"


class FileServer:
    """A server of one file, which breaks off as often as `breaks` says, each time after so many bytes more."""

    def __init__(self, content: bytes = CONTENT, **headers: str) -> None:
        self.content = content
        self.headers = {"ETag": '"one"', **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.breaks: list[int] = []
        self.ranges = True

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        start = 0
        told = request.headers.get("Range", "")
        validator = request.headers.get("If-Range")
        if self.ranges and told and validator in (self.headers.get("ETag"), self.headers.get("Last-Modified")):
            start = int(told.removeprefix("bytes=").removesuffix("-"))
            if start >= len(self.content):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.content)}"})
        response = web.StreamResponse(status=206 if start else 200, headers=self.headers)
        response.content_length = len(self.content) - start
        if start:
            response.headers["Content-Range"] = self.content_range(start)
        await response.prepare(request)
        stop = start + self.breaks.pop(0) if self.breaks else len(self.content)
        await response.write(self.content[start:stop])
        if stop < len(self.content) and request.transport is not None:
            request.transport.close()
        return response

    def content_range(self, start: int) -> str:
        return f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"


def api_of(server: Server, auth: Auth | None = None) -> WebAPI:
    api = WebAPI(auth or Auth.none())
    api.base_url = server.origin
    return api


def left_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


async def continued(api: WebAPI, files: FileServer, target: Path, after: int = 100_000, **more: Any) -> Path:
    """A download whose first reply breaks off after so many bytes."""
    files.breaks = [after]
    return await api.download("/file", target, tries=2, **more)


def ranges(server: Server) -> list[str | None]:
    return [seen.headers.get("Range") for seen in server.seen]


async def test_a_file_is_there_whole_and_nothing_beside_it(serve: Serve, tmp_path: Path) -> None:
    server = await serve(FileServer())
    target = await api_of(server).download("/file", tmp_path / "out.bin", {"q": 1}, headers={"X-Own": "y"})
    assert (target.status, target.headers["ETag"]) == (200, '"one"')
    assert target == tmp_path / "out.bin"
    assert target.read_bytes() == CONTENT
    assert left_in(tmp_path) == {"out.bin": len(CONTENT)}
    sent = server.last
    assert (sent.query, sent.headers["X-Own"], sent.headers["Accept-Encoding"]) == ([("q", "1")], "y", "identity")


async def test_a_download_that_broke_off_is_continued_by_the_next_try(serve: Serve, tmp_path: Path) -> None:
    files, told = FileServer(), list[Any]()
    server = await serve(files)
    api = api_of(server)
    await continued(api, files, tmp_path / "out", progress=told.append, total=lambda n: told.append((n,)))
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert (ranges(server), server.last.headers["If-Range"]) == ([None, "bytes=100000-"], '"one"')
    last = len(told) - 1 - told[::-1].index((300_000,))
    assert told[last + 1] == 100_000, "a bar is told of what is there already"
    assert sum(told[last + 1 :]) == 300_000
    assert left_in(tmp_path) == {"out": len(CONTENT)}


@pytest.mark.parametrize("case", ["another body", "no ranges"])
async def test_what_cannot_be_continued_begins_anew(serve: Serve, tmp_path: Path, case: str) -> None:
    files = FileServer()

    async def handler(request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers and case == "another body":
            files.headers["ETag"], files.content = '"two"', CONTENT[::-1]
        return await files(request)

    files.ranges = case != "no ranges"
    await continued(api_of(await serve(handler)), files, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == files.content


async def test_a_download_continues_nothing_that_another_call_left(serve: Serve, tmp_path: Path) -> None:
    """Two people's bytes in one file: each call asks for all of it."""
    files = FileServer()
    server = await serve(files)
    api, target = api_of(server), tmp_path / "out"
    files.breaks = [100_000]
    with pytest.raises(NetworkError):
        await api.download("/file", target)
    assert left_in(tmp_path) == {}
    for name in ("out.part", "out.part.json"):
        (tmp_path / name).write_bytes(b"of another person")
    await asyncio.gather(*(api.download("/file", target) for _ in range(3)))
    assert set(ranges(server)) == {None}
    assert target.read_bytes() == CONTENT
    assert len(left_in(tmp_path)) == 3


@pytest.mark.parametrize(
    "told",
    ["", "bytes 5-299999/300000", "bytes 100000-299999/300001", "bytes 100000-", "bytes */300000", "lines 1-2/3"],
)
async def test_a_range_that_is_not_the_one_asked_for_is_not_put_behind_the_part(
    serve: Serve, tmp_path: Path, told: str
) -> None:
    files = FileServer()
    server = await serve(files)
    files.content_range = lambda start: told  # type: ignore[method-assign]
    await continued(api_of(server), files, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-", None]


async def test_a_range_of_a_body_whose_size_nobody_says_is_not_taken_for_its_end(serve: Serve, tmp_path: Path) -> None:
    class OfUnknownSize(FileServer):
        async def __call__(self, request: web.Request) -> web.StreamResponse:
            start = int(request.headers.get("Range", "bytes=0-")[6:-1])
            stop = start + self.breaks.pop(0) if self.breaks else len(self.content)
            headers = {"Content-Range": f"bytes {start}-{stop - 1}/*"} if start else {}
            response = web.StreamResponse(status=206 if start else 200, headers=self.headers | headers)
            await response.prepare(request)
            await response.write(self.content[start:stop])
            if not start and stop < len(self.content) and request.transport is not None:
                request.transport.close()
            return response

    files = OfUnknownSize()
    api = api_of(await serve(files))
    files.breaks = [100_000, 50_000]
    await api.download("/file", tmp_path / "out", tries=2)
    assert (tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [412, 416])
async def test_a_range_that_is_refused_begins_anew(serve: Serve, tmp_path: Path, status: int) -> None:
    files = FileServer()

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status) if "Range" in request.headers else await files(request)

    server = await serve(handler)
    await continued(api_of(server), files, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": 'W/"weak"'},
        {"ETag": ""},
        {"ETag": "", "Last_Modified": OLD, "Date": OLD},
        {"ETag": "", "Last_Modified": "x"},
        {"Accept_Ranges": "none"},
    ],
)
async def test_a_body_without_a_strong_validator_is_not_continued(
    serve: Serve, tmp_path: Path, headers: dict[str, str]
) -> None:
    files = FileServer(CONTENT, **headers)
    server = await serve(files)
    await continued(api_of(server), files, tmp_path / "out", 1000)
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert ranges(server) == [None, None]


async def test_a_date_that_is_old_enough_is_a_validator_too(serve: Serve, tmp_path: Path) -> None:
    files = FileServer(ETag="", Last_Modified=OLD)
    del files.headers["ETag"]
    server = await serve(files)
    await continued(api_of(server), files, tmp_path / "out")
    assert (server.last.headers["If-Range"], (tmp_path / "out").read_bytes()) == (OLD, CONTENT)


async def test_a_download_goes_on_by_itself_as_often_as_asked(serve: Serve, tmp_path: Path) -> None:
    files = FileServer()
    server = await serve(files)
    files.breaks = [100_000, 50_000, 1]
    await api_of(server).download("/file", tmp_path / "out", tries=4)
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]
    assert (tmp_path / "out").read_bytes() == CONTENT
    files.breaks = [10, 10, 10]
    with pytest.raises(NetworkError):
        await api_of(server).download("/file", tmp_path / "two", tries=2)
    assert left_in(tmp_path) == {"out": len(CONTENT)}


@pytest.mark.parametrize("tries", [0, -1])
async def test_no_try_is_no_download(serve: Serve, tmp_path: Path, tries: int) -> None:
    api, target = api_of(await serve(FileServer())), tmp_path / "out"
    target.write_bytes(b"before")
    left = left_in(tmp_path)
    with pytest.raises(ConfigError, match="tries"):
        await api.download("/file", target, tries=tries)
    assert left_in(tmp_path) == left


async def test_between_tries_that_bring_nothing_there_is_a_pause_that_the_server_may_name(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from SlyAPI.webapi.download import download

    statuses, pauses = [503, 503, 429, 404], list[float]()

    async def handler(request: web.Request) -> web.StreamResponse:
        status = statuses.pop(0)
        return web.Response(status=status, headers={"Retry-After": "7"} if status == 429 else {})

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    api = api_of(await serve(handler))
    with pytest.raises(ApiError, match="404"):
        await download(lambda more: api.stream("/x", headers=more), tmp_path / "out", tries=9, pause=pause)
    assert pauses == [1.0, 2.0, 7.0]
    assert left_in(tmp_path) == {}


@pytest.mark.parametrize(("status", "why"), [(204, "HTTP 204"), (206, "a part of a body"), (304, "HTTP 304")])
async def test_an_answer_that_is_no_file_is_an_error(serve: Serve, tmp_path: Path, status: int, why: str) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    (tmp_path / "out").write_text("older")
    with pytest.raises(BadReplyError, match=why):
        await api_of(await serve(handler)).download("/x", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "older"
    assert left_in(tmp_path) == {"out": 5}


async def test_more_than_the_limit_is_an_error_announced_or_not(serve: Serve, tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(bytes(1 << 16))
        return response

    for handler in (FileServer(), endless):
        with pytest.raises(BadReplyError, match="larger than 200000 bytes"):
            await api_of(await serve(handler)).download("/x", tmp_path / "out", limit=200_000, tries=5)
        assert left_in(tmp_path) == {}


async def test_a_packed_body_is_unpacked_and_never_continued(serve: Serve, tmp_path: Path) -> None:
    import gzip

    server = await serve(FileServer(gzip.compress(CONTENT), Content_Encoding="gzip"))
    await api_of(server).download("/x", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


async def test_a_cancelled_download_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"one"'})
        await response.prepare(request)
        await response.write(b"x" * 1000)
        await never.wait()
        return response

    api = api_of(await serve(handler))
    task = asyncio.create_task(api.download("/x", tmp_path / "out", progress=lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    never.set()
    assert left_in(tmp_path) == {}


async def test_on_a_full_disk_nothing_is_lost(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await serve(FileServer())
    (tmp_path / "out").write_text("older")
    write, written = os.write, 0

    def until_full(handle: int, raw: Any) -> int:
        nonlocal written
        if written >= 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += (done := write(handle, raw[: 100_000 - written]))
        return done

    monkeypatch.setattr("os.write", until_full)
    with pytest.raises(SaveError, match="No space left"):
        await api_of(server).download("/x", tmp_path / "out", tries=3)
    monkeypatch.undo()
    assert (tmp_path / "out").read_text() == "older"
    assert left_in(tmp_path) == {"out": 5}


async def test_a_target_that_cannot_be_written_is_named_before_anything_is_sent(serve: Serve, tmp_path: Path) -> None:
    server = await serve(FileServer())
    for target in (tmp_path, tmp_path / "none" / "out", tmp_path / "nul\0"):
        with pytest.raises((SaveError, ConfigError)):
            await api_of(server).download("/x", target)
    assert server.seen == []


@pytest.mark.parametrize("target", ["/", "a\0b", "\ud800"])
async def test_a_target_that_no_file_can_have_is_refused_before_anything_is_sent(serve: Serve, target: str) -> None:
    server = await serve()
    with pytest.raises(ConfigError, match="is not the path of a file"):
        await api_of(server).download("/file", target)
    assert server.seen == []


async def test_while_it_comes_a_file_is_as_hidden_as_the_one_that_it_replaces(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "out").touch(0o600)
    modes = set[int]()

    def look(_: int) -> None:
        modes.update(path.stat().st_mode & 0o777 for path in tmp_path.iterdir())

    await api_of(await serve(FileServer())).download("/file", tmp_path / "out", progress=look)
    assert modes == {0o600}


ROOT_ONLY = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give a file away")


@ROOT_ONLY
@pytest.mark.parametrize("owner", [0, 4711], ids=["own", "of another account"])
@pytest.mark.parametrize("mode", [0o4777, 0o2777, 0o6755, 0o1777, 0o666, 0o600, 0o000], ids=oct)
async def test_of_the_file_that_it_replaces_a_download_takes_no_right_that_harms(
    serve: Serve, tmp_path: Path, mode: int, owner: int
) -> None:
    (tmp_path / "out").touch()
    os.chown(tmp_path / "out", owner, owner)
    (tmp_path / "out").chmod(mode)
    found_modes = list[int]()

    def look(_: int) -> None:
        found_modes.extend(path.stat().st_mode for path in tmp_path.iterdir() if path.name != "out")

    await api_of(await serve(FileServer())).download("/file", tmp_path / "out", progress=look)
    for found in [*found_modes, (tmp_path / "out").stat().st_mode]:
        assert found & 0o7000 == 0
        assert found & 0o077 == (mode & 0o077 if owner == 0 else 0)


@ROOT_ONLY
async def test_a_link_that_another_account_left_in_a_shared_folder_is_not_followed(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "shared" / "out").symlink_to(tmp_path / "precious")
    os.lchown(tmp_path / "shared" / "out", 4711, 4711)
    with pytest.raises(SaveError, match="another account"):
        await api_of(await serve(FileServer())).download("/file", tmp_path / "shared" / "out")
    assert (tmp_path / "precious").read_text() == "mine"


async def test_a_rewrite_keeps_the_mode_and_the_callers_link(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("older")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "out").symlink_to("real")
    await api_of(await serve(FileServer())).download("/x", tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "real").read_bytes() == CONTENT
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o600


async def test_without_file_descriptors_the_end_of_a_download_is_an_error_of_ours(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("os.dup", none_left)
    with pytest.raises(SaveError, match="open files"):
        await api_of(await serve(FileServer())).download("/x", tmp_path / "out")


async def test_the_file_is_on_disk_before_it_has_the_name(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        steps.append("fsync")
        fsync(handle)

    def noted_replace(old: Path, new: Path) -> None:
        steps.append(new.name)
        replace(old, new)

    monkeypatch.setattr("os.fsync", noted_fsync)
    monkeypatch.setattr("os.replace", noted_replace)
    await api_of(await serve(FileServer())).download("/x", tmp_path / "out")
    assert steps == ["fsync", "out", "fsync"], "the last one is of the folder"


async def test_a_download_led_to_another_host_is_continued_there_with_nothing_of_ours(
    serve: Serve, tmp_path: Path, told_by: Callable[[BaseException], str]
) -> None:
    files = FileServer()
    other = await serve(files)

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"{other.origin}/blob?signature=s"})

    server = await serve(handler)
    api = api_of(server, HeaderApiKey("X-Key", "hunter2"))
    await continued(api, files, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert ranges(other) == [None, "bytes=100000-"]
    assert not [seen for seen in other.seen if "X-Key" in seen.headers]
    assert all(seen.headers["X-Key"] == "hunter2" for seen in server.seen)


async def test_a_download_with_a_dead_token_costs_one_refresh(practise: Practise, tmp_path: Path) -> None:
    practice = await practise()
    api = practice.api(practice.auth(await practice.grant()))
    practice.provider.revoke_access_tokens()
    assert b"Monday" in (await api.download("/forecast", tmp_path / "out")).read_bytes()
    assert practice.refreshes == 1


async def test_an_exception_of_progress_reaches_the_caller(serve: Serve, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError):
        await api_of(await serve(FileServer())).download("/x", tmp_path / "out", progress=stop)
    assert left_in(tmp_path) == {}


async def test_bars_of_tqdm_and_rich_take_the_callbacks_as_they_are(serve: Serve, tmp_path: Path) -> None:
    import io

    from rich.console import Console
    from rich.progress import Progress
    from tqdm import tqdm

    files = FileServer()
    api = api_of(await serve(files))
    files.breaks = [100_000]
    with tqdm(unit="B", file=io.StringIO()) as bar:
        await api.download("/x", tmp_path / "a", tries=2, progress=bar.update, total=bar.reset)
        assert (bar.n, bar.total) == (300_000, 300_000)
    with Progress(console=Console(file=io.StringIO())) as progress:
        task = progress.add_task("b")
        await api.download(
            "/x",
            tmp_path / "b",
            progress=lambda n: progress.update(task, advance=n),
            total=lambda n: progress.reset(task, total=n),
        )
        assert (progress.tasks[0].completed, progress.tasks[0].total) == (300_000, 300_000)


@pytest.mark.parametrize("way", ["stream", "download"])
async def test_what_comes_in_pieces_counts_as_under_way_until_its_end(serve: Serve, tmp_path: Path, way: str) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        if request.path == "/slow":
            begun.set()
            await gate.wait()
        return response

    async def streamed() -> None:
        async with api.stream("/slow") as reply:
            assert b"".join([piece async for piece in reply]) == b"first"

    server = await serve(handler)
    api = api_of(server)
    api.limits = Limits(concurrent=1, max_wait=0.0)
    slow: Any = streamed() if way == "stream" else api.download("/slow", tmp_path / "out")
    first = asyncio.create_task(slow)
    await begun.wait()
    with pytest.raises(LimitError):
        await api.get_text("/")
    gate.set()
    await first
    assert await api.get_text("/") == "first"
