"""The command that makes the project of a new API client: new.

The rule: `new_client` has the text of each file; only names and addresses are filled in.
"""

import builtins
import json
import keyword
import re
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import ConfigError, WouldOverwriteError, printable
from ..flow.console import Console
from ..json_file import display_path
from ..oauth2.client.providers import PROVIDERS
from ..web import next_steps
from ..web.next_steps import PYTHON, quoted
from .results import print_json

_FILES = {
    "README.md": "readme",
    "pyproject.toml": "pyproject",
    ".gitignore": "gitignore",
    ".github/workflows/tests.yml": "workflow",
    "src/{{package}}/__init__.py": "init",
    "src/{{package}}/__main__.py": "main",
    "src/{{package}}/client.py": "client",
    "src/{{package}}/py.typed": None,
    "tests/test_client.py": "test_client",
}
_LONGEST = 40
_EXAMPLE = {"auth_uri": "https://example.com/authorize", "token_uri": "https://example.com/token"}
_TAKEN = {*sys.stdlib_module_names, "slyapi", "aiohttp", "pytest", "mypy", "pyright", "tests", "src"}
_TAKEN_CLASSES = {
    *dir(builtins),
    *("Day", "Forecast", "Note", "Scope", "WebAPI", "OAuth2", "SlyError"),
    *("ApiError", "GrantEndedError", "Clock", "PracticeProvider"),
}
"""What the files of a project import or define already."""
_DIRECT = "\n[tool.hatch.metadata]\nallow-direct-references = true\n"
_ELSEWHERE = """
SlyAPI is not on PyPI yet: `dependencies` in `pyproject.toml` names the place from which it was installed here. For
another machine, and for `.github/workflows`, write there where its folder, wheel or repository is.
"""


def new(args: Any, console: Console) -> int:
    """Writes the project into a new folder, and says what to run in it."""
    project = client_project(args.name, args.provider)
    folder = Path(args.folder or args.name)
    console.status = f"{display_path(folder)} was not changed."
    try:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            taken = f"{display_path(folder)} exists and is not an empty folder."
            raise WouldOverwriteError(taken, next_step="Give another --folder.")
        _write(folder, project)
    except OSError as error:
        if isinstance(error, WouldOverwriteError):
            raise
        console.status = ""
        problem = f"{display_path(folder)} cannot be written ({error.strerror})."
        raise ConfigError(problem, next_step="Give another --folder.") from None
    console.say(f"{display_path(folder)} was written: {len(project)} files. Next:")
    console.say(f"    cd {quoted(display_path(folder))}")
    console.say(f"    {PYTHON} -m pip install --upgrade pip")  # `--group` needs pip 25.1, newer than many of venv
    console.say(f"    {PYTHON} -m pip install -e . --group dev", f"    {PYTHON} -m pytest")
    print_json(args.json, {"folder": str(folder), "files": list(project)})
    return 0


def _write(folder: Path, project: Mapping[str, str]) -> None:
    for name, text in project.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def client_project(name: str, provider: str | None = None) -> dict[str, str]:
    """The files of the project `name`, by path. Raises `ConfigError` for an unusable name or an unknown provider."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    package, client = "_".join(words).lower(), "".join(word[:1].upper() + word[1:] for word in words)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", name) or len(name) > _LONGEST:
        problem = f"{printable(name, 40)!r} cannot be the name of a package."
        step = "Begin with a letter, then use letters, digits and hyphens, such as my-weather."
        raise ConfigError(problem, next_step=step)
    if keyword.iskeyword(package) or package in _TAKEN or client in _TAKEN_CLASSES:
        raise ConfigError(f"The name {package} is taken.", next_step=f"Choose another one, such as my-{package}.")
    values = {"project": name, "package": package, "Client": client, **_requirement(distribution("SlyAPI"))}
    values |= _addresses(provider)
    exported = ["Day", "Forecast", "Note", "Scope", client]
    values["exported"] = ", ".join(sorted(exported))
    values["quoted"] = ", ".join(f'"{one}"' for one in sorted(exported))
    values["Scope_and_Client"] = ", ".join(sorted(["Scope", client]))
    values["Day_Note_and_Client"] = ", ".join(sorted(["Day", "Note", client]))
    return {_filled(path, values): _filled(_template(part), values) for path, part in _FILES.items()}


def _requirement(mine: Distribution) -> dict[str, str]:
    """What a project requires: SlyAPI from an index, or from where this one was installed (PEP 610)."""
    told = json.loads((None if next_steps.PUBLISHED else mine.read_text("direct_url.json")) or "{}")
    if "url" not in told:
        return {"requirement": f"SlyAPI>={mine.version}", "direct": "", "elsewhere": ""}
    vcs = told.get("vcs_info")
    place = f"{vcs['vcs']}+{told['url']}@{vcs['commit_id']}" if vcs else told["url"]
    return {"requirement": f"SlyAPI @ {place}", "direct": _DIRECT, "elsewhere": _ELSEWHERE}


def _addresses(provider: str | None) -> dict[str, str]:
    if provider is None:
        return _EXAMPLE
    if provider.casefold() not in PROVIDERS:
        step = f"Leave --provider out and fill in the addresses later, or use one of: {', '.join(PROVIDERS)}."
        raise ConfigError(f"The provider {printable(provider, 40)!r} is unknown.", next_step=step)
    facts = PROVIDERS[provider.casefold()]
    return {"auth_uri": facts.auth_uri, "token_uri": facts.token_uri}


def _template(part: str | None) -> str:
    return files(__package__ or "").joinpath("new_client", f"{part}.txt").read_text(encoding="utf-8") if part else ""


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text
