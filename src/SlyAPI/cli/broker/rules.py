"""What a pass may be used for: the methods and paths of `--read-only` and `--allow`. Pure.

The rule: a path is allowed only if every way in which a server may read it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import ConfigError
from ...web.redirects import path_segments

_RULE = re.compile(r"([A-Z]+):(/[^?#\s]*)")
_READS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Allowed:
    """One `--allow METHOD:PATH`: `*` stands for one segment, `**` at the end for any number of them."""

    method: str
    path: str

    @classmethod
    def of(cls, text: str) -> "Allowed":
        """Raises `ConfigError`."""
        rule = _RULE.fullmatch(text)
        if rule is None or ".." in path_segments(f"http://api{rule[2]}") or "**" in rule[2].split("/")[1:-1]:
            step = "Write it as GET:/repos/*/issues; ** may stand at the end."
            raise ConfigError("--allow does not have the form METHOD:/path.", next_step=step)
        return cls(rule[1], rule[2])

    def admits(self, method: str, target: str) -> bool:
        """Whether the request may be sent; HEAD wherever GET may."""
        if self.method != method and (self.method, method) != ("GET", "HEAD"):
            return False
        path = target.partition("?")[0]
        readings = [(one.split("/")[1:], path_segments(f"http://api{one}")) for one in (self.path, path)]
        return all(_fits(rule, segments) for rule, segments in zip(*readings, strict=True))


@dataclass(frozen=True, slots=True)
class Rules:
    """All that narrows a pass; without any, every request below `base_url` is allowed."""

    read_only: bool = False
    allowed: tuple[Allowed, ...] = ()

    def admit(self, method: str, target: str) -> bool:
        """Whether the request may be sent."""
        if self.read_only and method not in _READS:
            return False
        return not self.allowed or any(rule.admits(method, target) for rule in self.allowed)


def _fits(rule: Sequence[str], segments: Sequence[str]) -> bool:
    if rule[-1:] == ["**"]:
        rule = rule[:-1]
        segments = segments[: len(rule)]
    pairs = zip(rule, segments, strict=False)
    return len(rule) == len(segments) and all(one == two or (one == "*" and two not in ("", ".")) for one, two in pairs)
