"""`WWW-Authenticate` as data: the challenges of a 401 or 403 (RFC 9110 §11.6.1).

The rule: what a server wrote wrongly is skipped or read as what it can only mean; never an error, always in linear
time.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme as written, and its parameters by their names in lower case.

    `token68`: what some schemes have instead of parameters. A Bearer challenge may have `error`, `scope`, `realm`
    (RFC 6750 §3), `resource_metadata` (RFC 9728 §5.1), `acr_values` and `max_age` (RFC 9470 §3).
    """

    __module__ = "SlyAPI.web"

    scheme: str
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    token68: str = ""

    def is_scheme(self, name: str) -> bool:
        """Whether this is a challenge of the scheme; case does not matter."""
        return self.scheme.lower() == name.lower()

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that the resource wants (RFC 6750 §3)."""
        return tuple(self.params.get("scope", "").split())

    @property
    def acr_values(self) -> tuple[str, ...]:
        """The authentication contexts that the resource accepts, the preferred one first (RFC 9470 §3)."""
        return tuple(self.params.get("acr_values", "").split())

    @property
    def max_age(self) -> int | None:
        """Seconds since the person last signed in that the resource accepts (RFC 9470 §3); None where not given."""
        value = self.params.get("max_age", "").strip()
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else None


# Possessive quantifiers: no part of a text is read twice, so hostile text takes linear time.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_SCHEME = re.compile(_TOKEN)
# A quoted string without its end goes to the end of the header; unquoted URLs are read as they are, as many servers
# write them.
_PARAM = re.compile(rf'({_TOKEN})[ \t]*+=[ \t]*+(?:"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)|([^\s",=][^\s",]*+))', re.DOTALL)
_TOKEN68 = re.compile(r"[ \t]++([A-Za-z0-9._~+/-]++=*+)[ \t]*+(?=,|\Z)")
_GAP = re.compile(r"[ \t,]*+")
_TO_COMMA = re.compile(r"[^,]*+")


def read_challenges(value: str) -> list[Challenge]:
    """The challenges of one `WWW-Authenticate` header. Of a parameter given twice the first counts."""
    found: list[Challenge] = []
    params: dict[str, str] | None = None
    at, separated = 0, True
    while True:
        gap = _GAP.match(value, at)
        assert gap is not None  # it may be empty
        at, separated = gap.end(), separated or "," in gap[0]
        if at == len(value):
            return found
        if params is not None and (param := _PARAM.match(value, at)):
            text = param[3] if param[2] is None else re.sub(r"\\(.)", r"\1", param[2], flags=re.DOTALL)
            params.setdefault(param[1].lower(), text)
            at, separated = param.end(), False
            continue
        scheme = _SCHEME.match(value, at) if separated else None
        if scheme is None or value[scheme.end() : scheme.end() + 1] not in ("", " ", "\t", ","):
            skipped = _TO_COMMA.match(value, at)
            assert skipped is not None
            at = skipped.end()
            continue
        at, separated = scheme.end(), False
        if token := _TOKEN68.match(value, at):
            at, params = token.end(), None
            found.append(Challenge(scheme[0], {}, token[1]))
        else:
            params = {}
            found.append(Challenge(scheme[0], params))


def challenges_in(headers: Mapping[str, str]) -> list[Challenge]:
    """The challenges of all `WWW-Authenticate` headers of a reply, in their order."""
    get_all = getattr(headers, "getall", None)
    values: Iterable[str] = get_all("WWW-Authenticate", ()) if get_all else [headers.get("WWW-Authenticate", "")]
    return [challenge for value in values for challenge in read_challenges(value)]


def needs_scope(challenges: Iterable[Challenge]) -> Challenge | None:
    """The challenge that says that the token lacks a scope (`insufficient_scope`, RFC 6750 §3.1), if there is one."""
    return _with_error(challenges, "insufficient_scope")


def wants_nonce(headers: Mapping[str, str]) -> bool:
    """Whether a 401 refuses only a proof that lacks the server's nonce (RFC 9449 §9)."""
    return any(
        challenge.is_scheme("DPoP") and challenge.params.get("error") == "use_dpop_nonce"
        for challenge in challenges_in(headers)
    )


def next_step(challenges: Iterable[Challenge]) -> str:
    """What a person can do about the challenges of a 401 or 403; empty where they do not say."""
    challenges = list(challenges)
    if lacking := needs_scope(challenges):
        scopes = " ".join(lacking.scopes)
        return f"Grant again with the scope {repr(scopes) if scopes else 'that this call needs'}."
    if stale := _with_error(challenges, "insufficient_user_authentication"):
        wanted = [f"acr_values={' '.join(stale.acr_values)!r}"] if stale.acr_values else []
        wanted += [f"max_age={stale.max_age}"] if stale.max_age is not None else []
        return "The person must sign in again" + (f", with {' and '.join(wanted)}." if wanted else ".")
    return ""


def _with_error(challenges: Iterable[Challenge], error: str) -> Challenge | None:
    return next((challenge for challenge in challenges if challenge.params.get("error") == error), None)
