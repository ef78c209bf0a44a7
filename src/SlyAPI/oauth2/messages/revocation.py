"""RFC 7009, token revocation: the request that ends a grant at the provider, and its reply. Pure."""

from ...tokens.user import OAuth2User
from ...web.messages import Reply
from ...web.secret_values import SecretForm, Secrets
from ...web.urls import bare_url
from .token_endpoint import is_error, read_answer, refusal


def revocation_form(user: OAuth2User) -> SecretForm:
    """The form that ends a grant: its refresh token, whose access tokens end with it (RFC 7009 §2.1)."""
    if user.refresh_token:
        return SecretForm(token=user.refresh_token, token_type_hint="refresh_token")
    return SecretForm(token=user.token, token_type_hint="access_token")


def read_revocation_reply(reply: Reply, secrets: Secrets) -> None:
    """Returns if the token has ended, now or earlier (RFC 7009 §2.2). Raises `TokenError`."""
    answer = read_answer(reply) or {}
    if reply.status < 300 and not is_error(answer):
        return
    if reply.status in (200, 400) and answer.get("error") in ("invalid_token", "invalid_grant"):
        return  # not RFC 7009: some servers report an unknown token so
    where = f"The revocation endpoint {bare_url(reply.url)}"
    raise refusal(reply, answer, where, secrets=secrets, setting="revoke_uri")
