"""RFC 8628, the device flow: the person consents on another device, and the program asks until they have. Pure.

The rule: when to ask next is a value that follows from the last answer; who waits is the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from ...errors import (
    BadReplyError,
    ConfigError,
    DeniedError,
    LoginEndedError,
    SlyError,
    TokenError,
    clean_traceback,
    printable,
)
from ...tokens.times import seconds
from ...web.messages import Reply
from ...web.secret_values import SecretForm, SecretJson, Secrets
from ...web.urls import bare_url, check_endpoint
from .token_endpoint import is_error, read_answer, refusal, refuses_client_auth

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL = 5.0
"""Seconds between two polls where the server names no interval (RFC 8628 §3.2)."""
SLOW_DOWN = 5.0
"""Seconds that `slow_down` adds to the interval for good (RFC 8628 §3.5)."""
ANSWERS = ("authorization_pending", "slow_down", "access_denied", "expired_token")
"""What a poll is answered with until the person has consented (RFC 8628 §3.5), by whatever status and words."""
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.1, 120.0
LONGEST_LIFETIME = 86400.0
_LONGEST_CODE = 80


@dataclass(frozen=True, kw_only=True)
class DeviceLogin:
    """A login on another device: show `user_code` and `verification_uri` to the person.

    `verification_uri_complete` has the code in it, for a QR code. `expires_at` is aware and in UTC, `interval` in
    seconds. `to_dict()` and `from_dict()` keep it across a restart; it holds a secret, `device_code`.
    """

    __module__ = "SlyAPI.oauth2"

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_at: datetime
    interval: float = INTERVAL
    scopes: tuple[str, ...] = ()
    resource: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"DeviceLogin(user_code={self.user_code!r}, verification_uri={self.verification_uri!r})"

    def to_dict(self) -> dict[str, Any]:
        """The login as a JSON object; `from_dict` reads it."""
        return SecretJson(
            device_code=self.device_code,
            user_code=self.user_code,
            verification_uri=self.verification_uri,
            verification_uri_complete=self.verification_uri_complete,
            expires_at=self.expires_at.timestamp(),
            interval=self.interval,
            scopes=[*self.scopes],
            **({} if self.resource is None else {"resource": [*self.resource]}),
        )

    @classmethod
    @clean_traceback
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The login that `to_dict` wrote. Raises `ConfigError` for anything else."""
        try:
            kept = cls(
                device_code=str(value["device_code"]),
                user_code=str(value["user_code"]),
                verification_uri=str(value["verification_uri"]),
                verification_uri_complete=value.get("verification_uri_complete"),
                expires_at=datetime.fromtimestamp(float(value["expires_at"]), UTC),
                interval=float(value["interval"]),
                scopes=tuple(map(str, value.get("scopes", ()))),
                resource=None if value.get("resource") is None else tuple(map(str, value["resource"])),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, OSError):
            kept = None
        # NaN too: it would ask without a pause
        if kept is not None and SHORTEST_INTERVAL <= kept.interval <= LONGEST_INTERVAL:
            return kept
        raise ConfigError("This is not a device login that to_dict() wrote.")


def device_form(scope: str = "") -> SecretForm:
    """The form that begins the flow (RFC 8628 §3.1)."""
    return SecretForm(scope=scope) if scope else SecretForm()


def read_device_reply(
    reply: Reply,
    *,
    now: float,
    scopes: list[str],
    secrets: Secrets,
    resource: tuple[str, ...] | None = None,
    allow_http: bool = False,
) -> DeviceLogin:
    """The login that the device authorization endpoint begins (RFC 8628 §3.2); `now` in epoch seconds.

    Raises `TokenError` for a refusal, `BadReplyError` for an answer that lacks what the person needs.
    """
    where = f"The device authorization endpoint {bare_url(reply.url)}"
    answer = read_answer(reply)
    if reply.status >= 300 or is_error(answer):
        raise refusal(reply, answer or {}, where, secrets=secrets, setting="device_uri")
    found = answer or {}
    device_code, user_code = found.get("device_code"), found.get("user_code")
    # some servers write verification_url, as Google did before the RFC
    uri = found.get("verification_uri") or found.get("verification_url")
    lifetime = seconds(found.get("expires_in"))
    texts = (device_code, user_code, uri)
    if not all(isinstance(text, str) and text for text in texts) or lifetime is None or lifetime <= 0:
        raise BadReplyError(
            f"{where} answered without device_code, user_code, verification_uri or expires_in.",
            next_step="Check device_uri in the client file.",
        )
    interval = seconds(found.get("interval")) or 0.0
    return DeviceLogin(
        device_code=str(device_code),
        user_code=_as_sent(str(user_code)),
        verification_uri=check_endpoint(str(uri), "verification_uri", allow_http=allow_http),
        verification_uri_complete=_complete(found.get("verification_uri_complete"), allow_http),
        expires_at=datetime.fromtimestamp(now + min(lifetime, LONGEST_LIFETIME), UTC),
        interval=max(SHORTEST_INTERVAL, min(interval, LONGEST_INTERVAL)) if interval > 0 else INTERVAL,
        scopes=tuple(scopes),
        resource=resource,
    )


def _as_sent(code: str) -> str:
    """The code character by character, as the server may compare it; one that could move a cursor is made printable."""
    return code if len(code) <= _LONGEST_CODE and code.isprintable() else printable(code, _LONGEST_CODE)


def _complete(uri: object, allow_http: bool) -> str | None:
    try:
        name = "verification_uri_complete"
        return check_endpoint(uri, name, allow_http=allow_http) if isinstance(uri, str) else None
    except ConfigError:
        return None  # the person can type the code


def poll_form(device: DeviceLogin) -> SecretForm:
    """The form that asks whether the person has consented (RFC 8628 §3.4)."""
    return SecretForm(grant_type=GRANT_TYPE, device_code=device.device_code)


def refuses_client(error: TokenError) -> bool:
    """Whether a refused poll may succeed with the other client authentication."""
    return error.error not in ANSWERS and refuses_client_auth(error)


def after_refusal(device: DeviceLogin, error: SlyError, waited: float) -> tuple[DeviceLogin, float]:
    """How to go on polling after this refusal (RFC 8628 §3.5): the login, and the seconds to wait now.

    `waited` are the seconds before this poll. Raises `DeniedError` where the person said no, `LoginEndedError` where
    the code ran out, and `error` itself where waiting does not help. A connection that broke, 429 and 5xx back off
    and go on; `Retry-After` is kept.
    """
    code = error.error if isinstance(error, TokenError) else ""
    at_least = error.retry_after or 0.0
    if code == "authorization_pending":
        return device, max(device.interval, at_least)
    if code == "slow_down":
        slower = replace(device, interval=device.interval + SLOW_DOWN)
        return slower, max(slower.interval, at_least)
    if code == "access_denied":
        raise DeniedError("The person declined the request.", error=code, denied=True)
    if code in ("expired_token", "invalid_grant"):  # the latter where the provider has forgotten the code already
        raise ended()
    if error.kind == "transient":
        # RFC 8628 §3.5: on a connection timeout, reduce the polling frequency
        return device, max(device.interval, min(waited * 2, LONGEST_INTERVAL), at_least)
    raise error


def ended() -> LoginEndedError:
    """The error for a code that ran out."""
    return LoginEndedError("The code expired before the person consented.", next_step="Begin again.")
