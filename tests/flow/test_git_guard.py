"""What git would do with a credentials file, in real repositories."""
from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from SlyAPI.cli.main import main
from SlyAPI.flow.console import Console
from SlyAPI.flow.git_guard import guard, would_commit
from tests.support.place import Place

pytestmark = pytest.mark.posix  # needs git


class Person(Console):
    """A person at a terminal with one answer to everything."""

    def __init__(self, answer: bool | None) -> None:
        super().__init__()
        self.answer = answer
        self.said: list[str] = []
        self.asked: list[str] = []

    @property
    def interactive(self) -> bool:
        return self.answer is not None

    def say(self, *lines: str, heading: str = "") -> None:
        self.said += lines

    def confirm(self, question: str) -> bool:
        self.asked.append(question)
        return self.answer is True


def git(folder: Path, *words: str) -> int:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=False).returncode


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    assert git(folder, "init", "-q") == 0
    (folder / "user.json").write_text("{}")
    return folder


def test_a_file_outside_of_git_is_nobodys_business(tmp_path: Path) -> None:
    person = Person(True)
    guard(tmp_path / "user.json", person)
    assert person.said == person.asked == []


@pytest.mark.parametrize(
    "name", ["user.json", "my user.json", "[x]*?.json", "#1.json", "!x.json", "ü.json", "\\x.json", "-f", "trailing "]
)
def test_a_yes_adds_a_line_that_works(repository: Path, name: str) -> None:
    (repository / name).write_text("{}")
    assert would_commit(repository / name) == "untracked"
    person = Person(True)
    guard(repository / name, person)
    assert len(person.asked) == 1
    assert would_commit(repository / name) is None
    guard(repository / name, person)
    assert len(person.asked) == 1


def test_the_line_is_added_behind_what_is_there(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.pyc")
    guard(repository / "user.json", Person(True))
    assert (repository / ".gitignore").read_text() == "*.pyc\n/user.json\n"


def test_the_line_goes_into_the_folder_of_the_file(repository: Path) -> None:
    (repository / "below").mkdir()
    (repository / "below" / "user.json").write_text("{}")
    guard(repository / "below" / "user.json", Person(True))
    assert (repository / "below" / ".gitignore").read_text() == "/user.json\n"
    assert would_commit(repository / "below" / "user.json") is None


@pytest.mark.parametrize("answer", [False, None])
def test_without_a_yes_it_is_only_said(repository: Path, answer: bool | None) -> None:
    person = Person(answer)
    guard(repository / "user.json", person)
    assert "/user.json" in "\n".join(person.said)
    assert not (repository / ".gitignore").exists()
    assert (person.asked == []) is (answer is None)


def test_a_tracked_file_is_told_with_the_way_out(repository: Path) -> None:
    assert git(repository, "add", "user.json") == 0
    (repository / ".gitignore").write_text("*.json\n")
    assert would_commit(repository / "user.json") == "tracked"
    person = Person(True)
    guard(repository / "user.json", person)
    assert person.asked == []
    assert f"git rm --cached {repository / 'user.json'}" in "\n".join(person.said)


def test_a_gitignore_that_cannot_be_written_is_told(repository: Path) -> None:
    (repository / ".gitignore").mkdir()
    person = Person(True)
    guard(repository / "user.json", person)
    assert "could not be written" in "\n".join(person.said)


def test_without_git_nothing_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/absent")
    assert would_commit(repository / "user.json") is None


def test_git_is_asked_about_the_files_own_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/absent")
    assert would_commit(repository / "user.json") == "untracked"


def test_scaffold_says_it_without_a_terminal(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setattr("sys.stdin", None)
    assert main(["scaffold", "app.json"]) == 0
    assert "git would commit app.json" in capsys.readouterr().err
    assert git(repository, "add", "app.json") == 0
    assert main(["scaffold", "app.json"]) == 0
    assert "git tracks app.json" in capsys.readouterr().err
    (repository / ".gitignore").write_text("*.json\n")
    assert git(repository, "rm", "-q", "--cached", "app.json") == 0
    assert main(["scaffold", "app.json"]) == 0
    assert "git" not in capsys.readouterr().err


async def test_grant_says_it_too(place: Place) -> None:
    assert git(place.folder, "init", "-q") == 0
    ended = await place.grants()
    assert ended.code == 0
    assert "git would commit user.json" in ended.err


# a repository of a stranger, such as an unpacked archive


@pytest.mark.parametrize("name", ["core.fsmonitor", "core.hooksPath"])
@pytest.mark.parametrize("tracked", [True, False])
def test_nothing_that_a_repository_configures_is_run(
    repository: Path, tmp_path: Path, name: str, tracked: bool
) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    for hook in ("run", "post-index-change", "fsmonitor-watchman", "query-watchman"):
        (trap / hook).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (trap / hook).chmod(0o700)
    if tracked:
        assert git(repository, "add", "user.json") == 0
    assert git(repository, "config", name, str(trap / "run" if name == "core.fsmonitor" else trap)) == 0
    assert would_commit(repository / "user.json") == ("tracked" if tracked else "untracked")
    assert not (tmp_path / "ran").exists()


REMOTES: dict[str, Callable[[str], dict[str, str]]] = {
    "a folder": lambda program: {"remote.far.url": ".", "remote.far.uploadpack": program},
    "a file": lambda program: {"remote.far.url": "file:///", "remote.far.uploadpack": program},
    "ssh": lambda program: {"remote.far.url": "ssh://far.example/x", "core.sshCommand": program},
    "a helper": lambda program: {"remote.far.url": f"ext::{program}", "protocol.ext.allow": "always"},
    "allowed by name": lambda program: {
        "remote.far.url": ".", "remote.far.uploadpack": program,
        "protocol.allow": "always", "protocol.file.allow": "always",
    },
}
"""The settings by which git runs a program where it fetches objects that a partial clone lacks."""


@pytest.mark.parametrize("remote", REMOTES)
@pytest.mark.parametrize("sparse", [True, False])
def test_a_repository_that_lacks_objects_is_not_completed_by_its_programs(
    repository: Path, tmp_path: Path, remote: str, sparse: bool
) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@a.example")
    (repository / "below").mkdir()
    for name in (".gitignore", "below/.gitignore", "below/file"):
        (repository / name).write_text("*.pyc\n")
    assert git(repository, "add", ".gitignore", "below") == 0
    assert git(repository, *identity, "commit", "-qm", "all") == 0
    if sparse:
        assert git(repository, "sparse-checkout", "set", "--cone", "--sparse-index") == 0
    assert git(repository, "update-index", "--skip-worktree", ".gitignore") == 0
    (repository / ".gitignore").unlink()
    for thing in (repository / ".git" / "objects").glob("??/*"):
        thing.unlink()
    settings = {"core.repositoryFormatVersion": "1", "extensions.partialClone": "far", "remote.far.promisor": "true"}
    for name, value in (settings | REMOTES[remote](f"touch {tmp_path}/ran")).items():
        assert git(repository, "config", name, value) == 0
    would_commit(repository / "user.json")
    would_commit(repository / "below" / "user.json")
    assert not (tmp_path / "ran").exists()
    assert git(repository, "check-ignore", "-q", "user.json") != 0
    assert (tmp_path / "ran").exists(), "the trap does not work"


def test_a_bare_repository_in_a_folder_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    assert git(tmp_path, "init", "-q", "--bare", "archive") == 0
    with (folder / "config").open("a") as config:
        config.write(f'[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = "touch {tmp_path}/ran; false"\n')
    (folder / "user.json").write_text("{}")
    assert would_commit(folder / "user.json") is None
    assert not (tmp_path / "ran").exists()


def test_git_gets_no_secret_and_no_instructions_from_the_environment(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\nexport -p > {tmp_path}/environment\nexit 1\n")
    (tmp_path / "bin" / "git").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("SLYAPI_STORE", "redis://:a-password@host")
    monkeypatch.setenv("SLYAPI_STORE_KEYS", "a-key")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "a-program")
    would_commit(repository / "user.json")
    environment = (tmp_path / "environment").read_text()
    assert "HOME" in environment
    for word in ("a-password", "a-key", "a-program"):
        assert word not in environment


def test_a_program_in_the_folder_at_hand_is_not_taken_for_git(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    (repository / "git").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (repository / "git").chmod(0o700)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", os.environ["PATH"]]))
    assert would_commit(repository / "user.json") == "untracked"
    assert not (tmp_path / "ran").exists()


PLANTED: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda gitignore, profile: gitignore.symlink_to(profile),
    "hard link": lambda gitignore, profile: gitignore.hardlink_to(profile),
    "pipe": lambda gitignore, profile: os.mkfifo(gitignore),
    "link to nothing": lambda gitignore, profile: gitignore.symlink_to(profile.with_name("absent")),
}


@pytest.mark.parametrize(
    ("what", "late"),
    # git itself waits for the writer of a pipe that is there before
    [(what, late) for what in PLANTED for late in (False, True) if late or what != "pipe"],
)
def test_what_somebody_left_in_the_place_of_gitignore_is_not_written_to(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, late: bool
) -> None:
    profile, gitignore, stat = tmp_path / "profile", repository / ".gitignore", os.stat
    profile.write_text("mine\n")

    def looked_at(path: Any, *args: Any, **more: Any) -> Any:
        try:
            return stat(path, *args, **more)
        finally:
            if str(path) == str(gitignore) and not os.path.lexists(gitignore):
                PLANTED[what](gitignore, profile)

    if late:
        monkeypatch.setattr(os, "stat", looked_at)
    else:
        PLANTED[what](gitignore, profile)
    person = Person(True)
    guard(repository / "user.json", person)
    assert (profile.read_text(), profile.with_name("absent").exists()) == ("mine\n", False)
    if not late:
        assert "could not be written" in "\n".join(person.said)


def test_the_way_out_can_be_copied_whatever_the_files_name(repository: Path) -> None:
    (repository / "my user.json").write_text("{}")
    assert git(repository, "add", "my user.json") == 0
    person = Person(True)
    guard(repository / "my user.json", person)
    assert shlex.split(person.said[-1])[-1] == str(repository / "my user.json")
