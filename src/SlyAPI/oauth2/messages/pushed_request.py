"""RFC 9126: an authorization request that the client sends itself, its reply, and the short URL. Pure.

The rule: what is pushed is what the URL of `begin_login` would say.
"""

from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ...errors import BadReplyError
from ...tokens.times import from_epoch, seconds
from ...web.messages import Reply
from ...web.secret_values import SecretForm, Secrets
from ...web.urls import bare_url, with_parameters
from .token_endpoint import is_error, read_answer, refusal


class PushedRequest(NamedTuple):
    """The name of a pushed request, and for how many seconds it is good, if the provider says so."""

    request_uri: str
    life: float | None

    def expires_at(self, now: float) -> datetime | None:
        """When it ends; `now` is when it was pushed, in epoch seconds."""
        return None if self.life is None else from_epoch(now + self.life)


class Divided(NamedTuple):
    """An authorization request's URL in its parts: the address to open, the parameters, the resources (RFC 8707)."""

    auth_uri: str
    form: SecretForm
    resources: list[str]


def divided(url: str) -> Divided:
    """An authorization request's URL in parts (RFC 9126 §2.1); what `auth_uri` has in its query stays there."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    begin = [name for name, _ in pairs].index("response_type")  # as `authorization_url` writes it: behind theirs
    own = with_parameters(url.partition("?")[0], pairs[:begin])
    form = SecretForm((name, value) for name, value in pairs[begin:] if name != "resource")
    return Divided(own, form, [value for name, value in pairs[begin:] if name == "resource"])


def pushed_url(auth_uri: str, client_id: str, request_uri: str) -> str:
    """The address to open (RFC 9126 §4); `auth_uri` is what `divided` left of it."""
    return with_parameters(auth_uri, [("client_id", client_id), ("request_uri", request_uri)])


def read_pushed_reply(reply: Reply, secrets: Secrets) -> PushedRequest:
    """The pushed request in a reply (RFC 9126 §2.2). Raises `TokenError`, `BadReplyError`."""
    where = f"The endpoint {bare_url(reply.url)} for pushed requests"
    answer = read_answer(reply)
    if reply.status >= 300 or is_error(answer):
        raise refusal(reply, answer or {}, where, secrets=secrets, setting="par_uri")
    uri = (answer or {}).get("request_uri")
    if not isinstance(uri, str) or not uri.strip() or uri != uri.encode(errors="ignore").decode():  # a surrogate
        raise BadReplyError(f"{where} answered without a request_uri.", next_step="Check par_uri in the client file.")
    return PushedRequest(uri, seconds((answer or {}).get("expires_in")))
