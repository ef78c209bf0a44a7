"""The completion scripts, in the shells that are installed: they know every command, flag and choice."""
from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from SlyAPI.cli.commands import COMMANDS
from SlyAPI.cli.completion import completion_script
from SlyAPI.cli.main import main
from SlyAPI.oauth2.client.providers import PROVIDERS
from SlyAPI.tokens.client_auth import METHODS

SHELLS = ("bash", "zsh", "fish", "powershell")


def installed(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


def completed(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    (folder / "script").write_text(completion_script("bash"))
    line = " ".join(f"'{word}'" for word in ("slyapi", *words))
    code = "slyapi() { echo work; }; source ./script; "
    code += f'COMP_WORDS=({line}); COMP_CWORD={len(words)}; _slyapi; printf "%s\\n" "${{COMPREPLY[@]}}"'
    ran = subprocess.run(
        [installed("bash"), "--norc", "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert capsys.readouterr() == (completion_script(shell) + "\n", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_every_command_and_flag(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = completion_script(shell)
    for command in COMMANDS:
        main([command, "--help"])
        for flag in re.findall(r"^  (?:-\w(?: \S+)?, )?--([a-z-]+)", capsys.readouterr().out, re.M):
            assert re.search(rf"{command}\b.*[-' ]{flag}\b", script), (command, flag)


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "powershell"])
def test_a_shell_reads_its_script(shell: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(completion_script(shell))
    ran = subprocess.run([installed(shell), "-n", "script"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_bash_completes_commands_flags_and_values(tmp_path: Path) -> None:
    assert set(completed(tmp_path, "")) == {*COMMANDS, "--help", "--version"}
    assert completed(tmp_path, "re") == ["refresh", "revoke"]
    assert completed(tmp_path, "grant", "--no") == ["--no-browser"]
    assert completed(tmp_path, "grant", "app.json", "--force", "--sc") == ["--scope"]
    assert completed(tmp_path, "call", "user.json", "GET", "--pag") == ["--paginate"]
    assert completed(tmp_path, "doctor", "app.json", "--ref") == ["--refresh"]
    assert completed(tmp_path, "grant", "--client-auth", "") == ["auto", *METHODS]
    assert completed(tmp_path, "scaffold", "--provider", "g") == [name for name in PROVIDERS if name[0] == "g"]
    assert completed(tmp_path, "completion", "") == list(SHELLS)
    assert completed(tmp_path, "grant", "") == []  # bash then completes files
    assert completed(tmp_path, "nonsense", "--") == []


def test_bash_completes_the_names_of_accounts(tmp_path: Path) -> None:
    for command in ("login", "logout", "show", "token", "call", "refresh", "revoke", "doctor"):
        assert completed(tmp_path, command, "wo") == ["work"]
    assert completed(tmp_path, "login", "githu") == ["github"]
    assert completed(tmp_path, "scaffold", "wo") == []


def test_fish_completes_commands_flags_and_values(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(completion_script("fish"))

    def offered(line: str) -> list[str]:
        code = f'source ./script; complete -C "slyapi {line}"'
        env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        ran = subprocess.run([installed("fish"), "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
        return [line.partition("\t")[0] for line in ran.stdout.splitlines()]

    assert offered("re") == ["refresh", "revoke"]
    assert offered("grant --no") == ["--no-browser"]
    assert sorted(offered("grant --client-auth ")) == sorted(["auto", *METHODS])
    assert sorted(offered("completion ")) == sorted(SHELLS)


def test_a_shell_that_is_not_known_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "fish" in capsys.readouterr().err
