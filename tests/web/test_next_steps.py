"""Commands in messages: quoted so that a shell gives the program the words that were meant."""
from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import SlyAPI
from SlyAPI.web.next_steps import program_name, quoted

WORDS = st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1), min_size=1)


@given(WORDS)
def test_a_shell_of_posix_reads_the_words_that_were_quoted(words: list[str]) -> None:
    assert shlex.split(quoted(*words, windows=False)) == words


@given(WORDS)
def test_windows_reads_the_words_that_were_quoted(words: list[str]) -> None:
    assert words_on_windows(quoted(*words, windows=True)) == words


@given(WORDS)
def test_no_word_for_windows_has_single_quotes_around_it(words: list[str]) -> None:
    simple = ["".join(letter for letter in word if letter not in "'\"") or "x" for word in words]
    assert "'" not in quoted(*simple, windows=True)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (r"C:\Users\me\app.json", r"C:\Users\me\app.json"),
        (r"C:\Program Files\app.json", r'"C:\Program Files\app.json"'),
        ("C:\\with space\\", '"C:\\with space\\\\"'),
        ("a&b", '"a&b"'),
    ],
)
def test_a_path_of_windows_is_quoted_only_where_it_must_be(path: str, shown: str) -> None:
    assert quoted(path, windows=True) == shown


def words_on_windows(line: str) -> list[str]:
    """As the C runtime of Windows splits a command line behind the program's name."""
    words: list[str] = []
    word, inside, at, begun = "", False, 0, False
    while at < len(line):
        slashes = len(line[at:]) - len(line[at:].lstrip("\\"))
        at += slashes
        letter = line[at : at + 1]
        word += "\\" * (slashes // 2 if letter == '"' else slashes)
        begun = begun or bool(slashes)
        if letter == '"' and slashes % 2 == 0:
            inside, begun = not inside, True
        elif letter == " " and not inside:
            if begun:
                words.append(word)
            word, begun = "", False
        elif letter:
            word, begun = word + letter, True
        at += 1
    return [*words, word] if begun else words


@pytest.mark.parametrize(
    ("started", "platform", "in_venv", "shown"),
    [
        ("/home/me/.venv/bin/slyapi", "linux", True, "slyapi"),
        (r"C:\Python\Scripts\slyapi.exe", "win32", False, "slyapi"),
        (r"C:\Python\Scripts\SLYAPI.EXE", "win32", True, "slyapi"),
        ("/lib/SlyAPI/__main__.py", "linux", False, "python -m SlyAPI"),
        ("-m", "win32", True, "python -m SlyAPI"),
        ("-m", "win32", False, "py -m SlyAPI"),
        ("", "darwin", False, "python -m SlyAPI"),
    ],
)
def test_messages_name_the_program_as_it_was_run(started: str, platform: str, in_venv: bool, shown: str) -> None:
    assert program_name(started, platform, in_venv=in_venv) == shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slyapi", "other.py"])
def test_every_next_step_of_a_run_names_that_program(name: str, tmp_path: Path) -> None:
    program = tmp_path / name
    program.write_text("from SlyAPI.__main__ import run\nrun()\n")
    root = str(Path(SlyAPI.__file__).parent.parent)
    mine = "slyapi" if name == "slyapi" else "python -m SlyAPI"
    for words in ("show user.json", "token app.json user.json", "grant app.json user.json", "gran", "--help"):
        ran = subprocess.run(
            [sys.executable, str(program), *words.split()],
            cwd=tmp_path, env={"PYTHONPATH": root, "PATH": ""}, capture_output=True, text=True, check=False,
        )
        text = ran.stdout + ran.stderr
        assert f"{mine} " in text, text
        assert ("python -m" in text) == (name != "slyapi"), text
