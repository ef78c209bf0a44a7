"""Credentials files on a real disk: every mistake named, and the old file whole until the new one is."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from SlyAPI import json_file
from SlyAPI.errors import CredentialsError, CredentialsNotFoundError, SaveError, SlyError, UnavailableError
from SlyAPI.json_file import check_writable, read_json_file, write_json_file
from SlyAPI.json_file.owners import is_shared, is_trusted
from SlyAPI.sources import from_file
from tests.support.accounts import ROOT_ONLY

OLD = {"token": "old-s3cret", "note": "Größe"}
NEW = {"token": "new-s3cret", "note": "Größe"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "user.json"
    path.write_text(json.dumps(OLD), encoding="utf-8")
    return path


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that takes nothing away, as some containers and services have."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- reading ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "user.json").write_text(json.dumps(OLD, ensure_ascii=False), encoding=encoding)
    assert read_json_file(tmp_path / "user.json") == OLD
    assert read_json_file(str(tmp_path / "user.json")) == OLD


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("absent", "No such file or directory"),
        (".", "Is a directory"),
        ("a\0b", "not a path"),
        ("pipe", "not a regular file"),
        ("large", "larger than 1 MiB, too large for a credentials file"),
    ],
)
def test_a_file_with_a_token_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path, name: str, why: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(CredentialsError) as caught:
        from_file(f"{tmp_path}/{name}")()
    assert str(caught.value).endswith(f" cannot be read: {why}.")


def test_a_file_of_a_mebibyte_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "user.json").write_bytes(b'"' + b"x" * ((1 << 20) - 2) + b'"')
    assert len(read_json_file(tmp_path / "user.json")) == (1 << 20) - 2
    (tmp_path / "user.json").write_bytes(b'"' + b"x" * ((1 << 20) - 1) + b'"')
    with pytest.raises(CredentialsError, match="larger than 1 MiB"):
        read_json_file(tmp_path / "user.json")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b'{"token": "s3cr', "only half of it"),
        (b"token=s3cret", "is not JSON"),
        (b"<html>s3cret</html>", "is not JSON"),
        (json.dumps(OLD).encode("utf-16"), "is not UTF-8"),
        (json.dumps(OLD).encode("utf-16-le"), "is not JSON"),
        (b'{"token": "s3cret\xff"}', "is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"token": ' + b"1" * 10_000 + b"}", "is not JSON"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', "larger than 1 MiB"),
        (b"\x00" * 100, "is not JSON"),
    ],
)
def test_a_file_that_is_no_json_is_named_for_what_it_is(tmp_path: Path, raw: bytes, said: str) -> None:
    path = tmp_path / "user.json"
    path.write_bytes(raw)
    with pytest.raises(CredentialsError) as caught:
        read_json_file(path)
    assert "user.json" in str(caught.value)
    assert said in str(caught.value)
    assert "s3cr" not in str(caught.value)
    assert not {"doc", "object"} & set(dir(caught.value.__context__)), "a decoder's error holds the whole document"
    assert path.read_bytes() == raw


def test_nothing_of_a_file_that_is_refused_is_in_a_frame_of_the_traceback(
    file: Path, told_by: Callable[[BaseException], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('{"token": "s3cret')
    with pytest.raises(CredentialsError) as unread:
        read_json_file(file)
    monkeypatch.setattr(os, "fsync", fail(errno.EIO))
    with pytest.raises(SaveError) as unsaved:
        write_json_file(file, {"token": "s3cret"})
    assert "s3cret" not in told_by(unread.value) + told_by(unsaved.value)


def test_no_file_is_a_file_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "user.json", tmp_path / "no" / "user.json"):
        with pytest.raises(CredentialsNotFoundError, match="does not exist") as caught:
            read_json_file(path)
        assert isinstance(caught.value, FileNotFoundError | ValueError)


@pytest.mark.parametrize(("made_with", "step"), [("", ""), ("slyapi make", "Make one with: slyapi make '{}'")])
def test_no_file_has_the_command_that_makes_one(tmp_path: Path, made_with: str, step: str) -> None:
    path = tmp_path / "my user.json"
    with pytest.raises(CredentialsNotFoundError) as caught:
        read_json_file(path, made_with=made_with)
    assert caught.value.next_step == step.format(path)


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [
        (errno.EIO, UnavailableError, os.strerror(errno.EIO)),
        (errno.EMFILE, UnavailableError, os.strerror(errno.EMFILE)),
        (errno.EBUSY, UnavailableError, os.strerror(errno.EBUSY)),
        (errno.EACCES, UnavailableError, "permission denied"),
        (errno.EROFS, UnavailableError, os.strerror(errno.EROFS)),
        (errno.ELOOP, CredentialsError, os.strerror(errno.ELOOP)),
    ],
)
def test_a_file_that_the_system_does_not_read_says_why(
    file: Path, number: int, error: type[SlyError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", fail(number))
    with pytest.raises(error) as caught:
        read_json_file(file)
    monkeypatch.undo()
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["{notes.json", 'the "user".json'])
def test_a_path_that_only_looks_a_little_like_content_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CredentialsNotFoundError) as caught:
        read_json_file(tmp_path / name)
    assert name in str(caught.value)
    with pytest.raises(CredentialsNotFoundError) as relative:
        read_json_file(name)
    assert name in str(relative.value)


PEM = "-----BEGIN PRIVATE KEY-----\ns3cret"


@pytest.mark.parametrize("text", [json.dumps(OLD), "\n" + json.dumps(OLD, indent=4), "\ufeff" + json.dumps(OLD), PEM])
def test_content_that_is_given_as_a_path_is_not_quoted(text: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        read_json_file(text)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SaveError) as unsaved:
        write_json_file(f"{text}/user.json", NEW)
    assert "s3cret" not in str(unsaved.value)


def test_a_folder_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="is a folder"):
        read_json_file(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CredentialsError, match="not a regular file"):
        read_json_file(tmp_path / "pipe")


def test_a_device_is_refused() -> None:
    with pytest.raises(CredentialsError, match="not a regular file"):
        read_json_file("/dev/zero")


def test_a_socket_is_our_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(CredentialsError):
            read_json_file(tmp_path / "s")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "user.json/below"])
def test_an_impossible_path_is_our_error(file: Path, name: str) -> None:
    path = f"{file.parent}/{name}"
    with pytest.raises(CredentialsError):
        read_json_file(path)
    with pytest.raises(SaveError):
        write_json_file(path, NEW)
    with pytest.raises(SaveError):
        check_writable(path)


def test_a_loop_of_links_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(CredentialsError):
        read_json_file(tmp_path / "loop")


def test_control_characters_in_a_path_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(CredentialsNotFoundError) as caught:
        read_json_file(tmp_path / "\x1b[2Juser\n.json")
    assert str(caught.value).isprintable()


# --- writing ---


def test_what_is_written_is_read_again_and_ends_with_a_line_end(tmp_path: Path) -> None:
    write_json_file(tmp_path / "user.json", NEW)
    assert read_json_file(tmp_path / "user.json") == NEW
    text = (tmp_path / "user.json").read_text("utf-8")
    assert text == '{\n    "token": "new-s3cret",\n    "note": "Größe"\n}\n'


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"a": float("inf")}, {"\udc00": ["\x00", "\u2028"]}])
def test_what_json_gave_us_can_be_saved_again(tmp_path: Path, value: Any) -> None:
    write_json_file(tmp_path / "user.json", value)
    assert read_json_file(tmp_path / "user.json") == value


@pytest.mark.usefixtures("open_umask")
def test_a_new_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    write_json_file(tmp_path / "user.json", NEW)
    assert mode(tmp_path / "user.json") == 0o600


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o777, 0o600), (0o600, 0o600), (0o400, 0o400)])
def test_a_rewrite_never_widens_the_mode(file: Path, before: int, after: int) -> None:
    file.chmod(before)
    write_json_file(file, NEW)
    assert mode(file) == after


@pytest.mark.usefixtures("open_umask")
def test_the_temporary_file_is_never_readable_by_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, Any]] = []
    replace = os.replace

    def look(source: Path, target: Path) -> None:
        seen.append((mode(Path(source)), json.loads(Path(source).read_text("utf-8"))))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    write_json_file(file, NEW)
    assert seen == [(0o600, NEW)], "complete, and 0600, before it has the name"


def test_nothing_is_written_into_a_file_that_another_put_in_the_temporary_files_place(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.urandom", bytes)
    (file.parent / "trap").write_text("empty")
    for put in (os.link, os.symlink):
        put(file.parent / "trap", file.parent / ".user.json.000000000000.tmp")
        with pytest.raises(SaveError):
            write_json_file(file, NEW)
    assert (file.parent / "trap").read_text() == "empty"
    assert read_json_file(file) == OLD


def test_the_new_file_is_on_disk_before_it_has_the_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        function = getattr(os, name)

        def call(*args: Any) -> Any:
            order.append(name)
            return function(*args)

        return call

    monkeypatch.setattr(os, "fsync", watched("fsync"))
    monkeypatch.setattr(os, "replace", watched("replace"))
    write_json_file(file, NEW)
    assert order == ["fsync", "replace", "fsync"], "the file, its name, then the folder that holds the name"


@pytest.mark.posix
@pytest.mark.parametrize("works", [True, False], ids=["a disk", "a network"])
def test_on_macos_a_file_is_on_the_disk_and_not_only_in_its_cache(
    works: bool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fcntl(2) there: F_FULLFSYNC. A fake stands in for the system."""
    import fcntl

    calls = list[object]()

    def full_sync(handle: int, how: int) -> None:
        calls.append(how)
        if not works:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(json_file, "MACOS", True)
    monkeypatch.setattr(fcntl, "fcntl", full_sync)
    monkeypatch.setattr(os, "fsync", lambda handle: calls.append("fsync"))
    write_json_file(file, NEW)
    assert calls == ([51, "fsync"] if works else [51, "fsync", "fsync"]), "the last one is that of the folder"
    assert read_json_file(file) == NEW


def test_a_symbolic_link_stays_one_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "user.json").write_text(json.dumps(OLD))
    (tmp_path / "link.json").symlink_to("real/user.json")
    write_json_file(tmp_path / "link.json", NEW)
    assert (tmp_path / "link.json").is_symlink()
    assert read_json_file(tmp_path / "real" / "user.json") == NEW
    assert names(tmp_path) == {"real", "link.json"}
    assert names(tmp_path / "real") == {"user.json"}


def test_a_link_to_nothing_yet_gets_its_target(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to("user.json")
    write_json_file(tmp_path / "link.json", NEW)
    assert (tmp_path / "link.json").is_symlink()
    assert read_json_file(tmp_path / "user.json") == NEW


def fail(number: int) -> Any:
    def call(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("function", ["replace", "fsync", "open"])
@pytest.mark.parametrize("number", [28, 13, 30])
def test_a_full_disk_or_a_read_only_folder_leaves_the_old_file(
    file: Path, function: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, function, fail(number))
    with pytest.raises(SaveError) as caught:
        write_json_file(file, NEW)
    with pytest.raises(SaveError):
        check_writable(file) if function == "open" else write_json_file(file, NEW)
    monkeypatch.undo()
    assert read_json_file(file) == OLD
    assert names(file.parent) == {"user.json"}, "no temporary file is left"
    assert "user.json could not be written" in str(caught.value)
    assert "The file is unchanged" in str(caught.value)
    assert number == errno.EACCES or os.strerror(number) in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize(
    ("number", "kind", "step"),
    [
        (errno.ENOSPC, "transient", "Free some space"),
        (errno.EIO, "transient", "Free some space"),
        (errno.E2BIG, "transient", "Free some space"),
        (errno.EMFILE, "transient", "Free some space"),
        (errno.EBUSY, "transient", "Mount its folder instead"),
        (errno.EROFS, "configuration", "Mount its folder writable"),
        (errno.EACCES, "configuration", "Make its folder writable"),
        (errno.ENOENT, "configuration", "Make that folder"),
        (errno.EISDIR, "configuration", "Choose another path"),
    ],
)
def test_what_cannot_be_written_has_its_way_out_and_says_whether_it_may_pass(
    file: Path, number: int, kind: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", fail(number))
    with pytest.raises(SaveError) as caught:
        write_json_file(file, NEW)
    monkeypatch.undo()
    assert (caught.value.kind, caught.value.next_step.startswith(step)) == (kind, True)


def of_folders_fails(fsync: Callable[[int], None], number: int) -> Callable[[int], None]:
    def call(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    return call


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_synced_is_no_failure_since_the_file_has_its_name(
    file: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", of_folders_fails(os.fsync, number))
    write_json_file(file, NEW)
    assert read_json_file(file) == NEW


@pytest.mark.parametrize("killed_by", [KeyboardInterrupt, SystemExit])
def test_a_program_ended_before_the_rename_leaves_the_old_file(
    file: Path, killed_by: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> NoReturn:
        raise killed_by

    monkeypatch.setattr(os, "replace", end)
    with pytest.raises(killed_by):
        write_json_file(file, NEW)
    assert read_json_file(file) == OLD
    assert names(file.parent) == {"user.json"}


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    for act in (lambda path: write_json_file(path, NEW), check_writable):
        with pytest.raises(SaveError, match="folder that does not exist"):
            act(tmp_path / "no" / "user.json")
    assert names(tmp_path) == set()


def test_a_folder_in_its_place_stays(tmp_path: Path) -> None:
    (tmp_path / "user.json").mkdir()
    for act in (lambda path: write_json_file(path, NEW), check_writable):
        with pytest.raises(SaveError, match="is a folder"):
            act(tmp_path / "user.json")
    assert names(tmp_path) == {"user.json"}


def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link.json").symlink_to("pipe")
    for path in (pipe, tmp_path / "link.json"):
        for act in (lambda path: write_json_file(path, NEW), check_writable):
            with pytest.raises(SaveError, match="not a regular file"):
                act(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_value_that_is_no_json_is_told_and_leaves_the_old_file(file: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value, said in ({"a": object()}, "other than JSON"), (endless, "contain itself"):
        with pytest.raises(SaveError, match=said):
            write_json_file(file, value)
    assert read_json_file(file) == OLD
    assert names(file.parent) == {"user.json"}


@pytest.mark.parametrize(("accounts", "trusted"), [(True, False), (False, True)])
def test_a_file_of_a_stranger_is_not_trusted_where_there_are_accounts(
    file: Path, accounts: bool, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not accounts:  # as on Windows
        monkeypatch.delattr(os, "geteuid")
    assert is_trusted(file, 12345) is trusted
    assert is_trusted(file, file.stat().st_uid)


@ROOT_ONLY
def test_a_file_of_root_is_trusted_wherever_it_lies(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(file.parent, ME, ME)
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    assert is_trusted(file, 0)


@ROOT_ONLY
@pytest.mark.parametrize("of_lower_number", [False, True])
def test_roots_rewrite_leaves_the_file_to_its_owner(
    file: Path, of_lower_number: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(file, 12345, 23456)
    if of_lower_number:  # as of a process with the right to give files away
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
    write_json_file(file, NEW)
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 23456)
    assert mode(file) == 0o600


ME, OWNER_OF_FOLDER, STRANGER = 54321, 23456, 12345


@ROOT_ONLY
@pytest.mark.parametrize("folder_mode", [0o755, 0o1755, 0o777, 0o1777], ids=oct)
@pytest.mark.parametrize("file_of", [ME, STRANGER])
@pytest.mark.parametrize("folder_of", [ME, OWNER_OF_FOLDER])
@pytest.mark.parametrize("me", [ME, 0])
def test_only_its_owner_the_folders_and_root_replace_a_file_in_a_sticky_folder(
    file: Path, folder_mode: int, file_of: int, folder_of: int, me: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """unlink(2), EPERM. Root may, and does not where somebody may have planted the file."""
    file.parent.chmod(folder_mode)
    os.chown(file, file_of, file_of)
    os.chown(file.parent, folder_of, folder_of)
    monkeypatch.setattr(os, "geteuid", lambda: me)
    planted = folder_mode & stat.S_IWOTH and me == 0 and file_of != folder_of
    if planted or (folder_mode & stat.S_ISVTX and me not in (0, file_of, folder_of)):
        with pytest.raises(SaveError, match="belongs to another account"):
            check_writable(file)
    else:
        check_writable(file)


@ROOT_ONLY
@pytest.mark.parametrize("folder_mode", [0o500, 0o755, 0o775, 0o757, 0o777, 0o1777], ids=oct)
@pytest.mark.parametrize("folder_of", [0, ME, OWNER_OF_FOLDER])
@pytest.mark.parametrize("me", [0, ME])
def test_a_shared_folder_is_one_where_the_system_lets_another_account_make_a_file(
    tmp_path: Path, folder_mode: int, folder_of: int, me: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(folder_mode)
    os.chown(tmp_path, folder_of, 4242)
    others = {STRANGER, folder_of} - {0, me}
    folder = os.open(tmp_path, os.O_RDONLY)  # which they need not reach by its path
    try:
        is_made = [account for account in others if makes_a_file(account, folder)]
    finally:
        os.close(folder)
    monkeypatch.setattr(os, "geteuid", lambda: me)
    tmp_path.chmod(folder_mode)
    assert is_shared(str(tmp_path)) is bool(is_made)


def makes_a_file(account: int, folder: int) -> bool:
    """Whether the account can, also by a mode that it gives its own folder before."""
    os.seteuid(account)
    try:
        with suppress(OSError):
            os.fchmod(folder, 0o700)
        with suppress(OSError):
            os.close(os.open(str(account), os.O_WRONLY | os.O_CREAT, dir_fd=folder))
            return True
    finally:
        os.seteuid(0)
    return False


@ROOT_ONLY
@pytest.mark.parametrize("folder_mode", [0o755, 0o1755, 0o775, 0o757, 0o1777], ids=oct)
@pytest.mark.parametrize("link_of", [0, ME, OWNER_OF_FOLDER, STRANGER])
def test_only_a_strangers_link_in_a_folder_of_others_is_refused(
    file: Path, folder_mode: int, link_of: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = file.parent / "shared"
    folder.mkdir()
    folder.chmod(folder_mode)
    os.chown(folder, OWNER_OF_FOLDER, OWNER_OF_FOLDER)
    link = folder / "link.json"
    link.symlink_to(file)
    os.lchown(link, link_of, link_of)
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    if folder_mode & 0o022 and link_of == STRANGER:
        with pytest.raises(CredentialsError, match="shared folder"):
            read_json_file(link)
    else:
        assert read_json_file(link) == OLD
