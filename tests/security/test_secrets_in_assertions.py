"""An `assert` in somebody's tests that fails, whose output lands in a public log: our objects show no secret there."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.secret_search import KEPT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
COMPARED = """
    from copy import copy
    from dataclasses import fields, is_dataclass

    import pytest

    from tests.security.test_secrets_kept import objects


    def changed(one):
        other = copy(one)
        for field in fields(one):
            value = getattr(one, field.name)
            if type(value) is str:
                object.__setattr__(other, field.name, value + "x")
            elif isinstance(value, dict):
                object.__setattr__(other, field.name, {**value, "more": "x"})
        return other


    @pytest.mark.parametrize("around", [lambda one: one, lambda one: [one], lambda one: {"it": one}])
    def test_objects(tmp_path, around, subtests):
        for one in objects(tmp_path):
            if is_dataclass(one) and not isinstance(one, type):
                with subtests.test(type(one).__name__):
                    left, right = around(one), around(changed(one))
                    assert left == right
"""


@pytest.mark.parametrize("verbosity", ["-q", "-vv"])
def test_an_assertion_that_fails_shows_no_secret(tmp_path: Path, verbosity: str) -> None:
    (tmp_path / "test_it.py").write_text(dedent(COMPARED))
    command = [sys.executable, "-m", "pytest", verbosity, "--showlocals", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command += ["-o", "python_functions=test_objects", "--import-mode=importlib"]
    ran = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    for kind in ("OAuth2User", "OAuth2App", "Login", "ServiceAccount", "Reply", "Identity"):
        assert kind in ran.stdout, ran.stdout + ran.stderr
    assert "left == right" in ran.stdout
    assert "not shown: token, refresh_token" in ran.stdout
    KEPT.assert_hidden([ran.stdout, ran.stderr])
