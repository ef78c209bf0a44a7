"""A token in the form that another program reads: curl, git, mail programs, kubectl. Pure.

The rule: a token that is bound to a key has none of these forms, because each request would need a proof of its own.
"""

from collections.abc import Iterable, Mapping

from ..errors import ConfigError
from ..oauth2 import OAuth2User
from ..tokens.user import authorization
from ..web.next_steps import PROGRAM
from ..web.urls import url_origin

_KUBERNETES = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


def check_bearer(user: OAuth2User) -> None:
    """Raises `ConfigError` for a token that is bound to a key (RFC 9449)."""
    if user.dpop_key is not None:
        step = f"Use: {PROGRAM} call"
        raise ConfigError("This token is bound to a key (DPoP): it is of no use to another program.", next_step=step)


def header_line(user: OAuth2User) -> str:
    """The header line of a request (RFC 6750 §2.1), as `curl -H @-` reads it."""
    return f"Authorization: {authorization(user)}"


def read_git_request(lines: Iterable[str]) -> dict[str, str]:
    """What git asks for: `name=value` lines up to an empty one (git-credential's input format)."""
    found: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.rstrip("\r\n").partition("=")
        if not separator:
            break
        found[name] = value
    return found


def is_for(request: Mapping[str, str], urls: Iterable[str]) -> bool:
    """Whether git asks for one of the origins of these URLs."""
    wanted = f"{request.get('protocol')}://{request.get('host')}".casefold()
    return wanted in {url_origin(url) for url in urls if url}


def git_lines(user: OAuth2User, request: Mapping[str, str]) -> list[str]:
    """The answer to git: the token as password, of any user name unless git knows one."""
    lines = [f"username={request.get('username') or 'oauth2'}", f"password={user.token}"]
    ends = user.expires_at
    return lines if ends is None else [*lines, f"password_expiry_utc={int(ends.timestamp())}"]


def xoauth2_text(user: OAuth2User, address: str | None) -> str:
    """The initial response of SASL XOAUTH2, in base64. Raises `ConfigError` where the mailbox is unknown."""
    from base64 import b64encode

    mailbox = address or (user.identity.claims.get("email") if user.identity else None)
    if not isinstance(mailbox, str) or not mailbox.isprintable():
        raise ConfigError("Whose mailbox? The id_token names no email.", next_step="Give --user ADDRESS.")
    return b64encode(f"user={mailbox}\1auth=Bearer {user.token}\1\1".encode()).decode()


def exec_credential(user: OAuth2User, exec_info: str = "") -> str:
    """kubectl's ExecCredential, in the version that `exec_info` (`$KUBERNETES_EXEC_INFO`) names."""
    import json

    try:
        asked = json.loads(exec_info)["apiVersion"]
    except (ValueError, TypeError, KeyError, RecursionError):
        asked = None
    ends = user.expires_at
    status = {"token": user.token} | ({} if ends is None else {"expirationTimestamp": f"{ends:%Y-%m-%dT%H:%M:%SZ}"})
    version = asked if asked in _KUBERNETES else _KUBERNETES[0]
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
