"""The script that measures many users runs, and what it must not find it does not find."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench import scale

pytestmark = pytest.mark.slow


async def test_a_hundred_users_are_measured_and_none_fails() -> None:
    told = await scale.report(100)
    for title in ("`OAuth2User`", "`PostgresStore`", "`EncryptedStore(RedisStore)`"):
        assert title in told
    stampedes = re.findall(r"seconds, most at the provider, failed \| [\d.]+, (\d+), (\d+) \|", told)
    assert len(stampedes) == 3
    assert all(int(most) <= 20 and failed == "0" for most, failed in stampedes)


def test_the_page_has_the_figures_between_its_markers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    (figures,) = re.findall(f"{re.escape(scale.BEGIN)}\n(.*)\n{re.escape(scale.END)}", page, re.DOTALL)
    assert "100,000 users" in figures
