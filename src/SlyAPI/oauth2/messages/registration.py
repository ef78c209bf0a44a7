"""RFC 7591 and RFC 7592: registering a client, and the registration's later changes. Pure.

The rule: what the server registered is compared with what was asked for before anything is kept.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ...errors import BadReplyError, ConfigError, SlyError, TokenError, printable
from ...tokens.client_auth import read_client_auth
from ...tokens.scopes import split_scopes
from ...web.json import present
from ...web.masking import masked
from ...web.messages import Method, Reply, Request
from ...web.redirects import leads_inside
from ...web.secret_values import SecretJson, Secrets
from ...web.urls import bare_url, check_endpoint, is_loopback_uri
from ..client.client_file import scopes_of, text_of
from .device import GRANT_TYPE as DEVICE_GRANT
from .token_endpoint import read_answer

_METHOD = "token_endpoint_auth_method"
_MANAGED = ("registration_access_token", "registration_client_uri")
_NEVER_SENT = (*_MANAGED, "client_secret_expires_at", "client_id_issued_at")


def client_metadata(
    client_name: str,
    redirect_uris: Iterable[str],
    scope: str = "",
    more: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    *,
    device: bool = False,
) -> dict[str, Any]:
    """What a client says of itself (RFC 7591 §2), with our defaults; a None in `more` leaves a member out.

    `application_type` is native where all redirects are loopback ones (OpenID Connect Registration §2, RFC 8252).
    `server` is the server's metadata, within which the defaults stay. With `device` the client also asks for the
    device flow, where the server offers it.
    """
    uris = [*redirect_uris]
    supported = server or {}
    grants = ["authorization_code", "refresh_token"] if uris else ["client_credentials"]
    if "refresh_token" not in _offered(supported, "grant_types_supported", grants):
        grants = grants[:1]
    if device and offers_device(supported):
        grants = [*grants, DEVICE_GRANT]
    methods = ["none", *_WITH_SECRET] if uris else _WITH_SECRET
    offered = _offered(supported, "token_endpoint_auth_methods_supported", methods)
    metadata: dict[str, Any] = {
        "client_name": client_name,
        "grant_types": grants,
        "token_endpoint_auth_method": next((method for method in methods if method in offered), methods[0]),
    }
    metadata["response_types"] = ["code"] if uris else []  # RFC 7591 §2: left out, it is ["code"]
    if uris:
        metadata |= {
            "redirect_uris": uris,
            "application_type": "native" if all(map(is_loopback_uri, uris)) else "web",
        }
    if scope:
        metadata["scope"] = scope
    metadata |= more or {}
    return {name: value for name, value in metadata.items() if value is not None}


def offers_device(server: Mapping[str, Any]) -> bool:
    """Whether the metadata of a server offer the device flow (RFC 8628 §4) to its clients."""
    grants = server.get("grant_types_supported", [DEVICE_GRANT])
    return bool(server.get("device_authorization_endpoint")) and isinstance(grants, list) and DEVICE_GRANT in grants


_WITH_SECRET = ["client_secret_basic", "client_secret_post"]


def _offered(server: Mapping[str, Any], name: str, usual: list[str]) -> list[str]:
    """The names in a list of the server's metadata; `usual` where it has no such list."""
    value = server.get(name)
    return [text for text in value if isinstance(text, str)] or usual if isinstance(value, list) else usual


def changed_metadata(current: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a registration with changes (RFC 7592 §2.2: all of them are sent); None removes one."""
    asked = {name: value for name, value in current.items() if name not in _NEVER_SENT} | dict(changes)
    return {name: value for name, value in asked.items() if value is not None}


def registered_settings(registered: Mapping[str, Any]) -> dict[str, Any]:
    """A registered client as `OAuth2App`'s attributes. Raises `ConfigError` for what a client file cannot have."""
    uris, method = registered.get("redirect_uris"), registered.get("token_endpoint_auth_method")
    settings: dict[str, Any] = {
        "id": text_of(registered, "client_id"),
        "client_auth": read_client_auth(method),
        "redirect_uri": next((uri for uri in uris if isinstance(uri, str)), None) if isinstance(uris, list) else None,
        "scopes": scopes_of(registered, "scope"),
        "id_token_alg": _algorithm(registered, "id_token_signed_response_alg"),
        "response_alg": _algorithm(registered, "authorization_signed_response_alg"),
        "sign_requests": registered.get("require_signed_request_object") is True or None,
        "dpop": registered.get("dpop_bound_access_tokens") is True or None,
        "require_par": registered.get("require_pushed_authorization_requests") is True or None,
        **{name: registered.get(name) for name in _MANAGED},
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if "client_secret" in registered or method == "none":
        settings["secret"] = text_of(registered, "client_secret") or None
    return settings


def _algorithm(registered: Mapping[str, Any], name: str) -> str | None:
    """The algorithm under a name; None for a value that cannot be one."""
    value = registered.get(name)
    return value if isinstance(value, str) and value.isprintable() else None


def registration_request(
    register_uri: str, metadata: Mapping[str, Any], initial_access_token: str | None = None
) -> Request:
    """The request that registers a client (RFC 7591 §3.1)."""
    return Request(Method.POST, register_uri, headers=_headers(initial_access_token), data=_json(metadata))


def management_request(uri: str, registration_access_token: str, metadata: Mapping[str, Any] | None = None) -> Request:
    """The request that changes a registration to `metadata`, or reads it (RFC 7592 §2.1, §2.2)."""
    if metadata is None:
        return Request(Method.GET, uri, headers=_headers(registration_access_token))
    return Request(Method.PUT, uri, headers=_headers(registration_access_token), data=_json(metadata))


def deletion_request(uri: str, registration_access_token: str) -> Request:
    """The request that ends a registration (RFC 7592 §2.3)."""
    return Request(Method.DELETE, uri, headers=_headers(registration_access_token))


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    return headers | {"Authorization": f"Bearer {token}"} if token else headers


def _json(metadata: Mapping[str, Any]) -> bytes:
    """Raises `ConfigError` for what JSON cannot hold, or what the server nested almost too deeply to be read."""
    with suppress(ValueError, TypeError, RecursionError):
        return json.dumps(metadata, allow_nan=False).encode("ascii")
    raise ConfigError("The client's metadata contain a value that cannot be written as JSON.")


def read_registration(
    reply: Reply, asked: Mapping[str, Any], secrets: Secrets, *, allow_http: bool = False
) -> dict[str, Any]:
    """The registered client, with RFC 7591's names; `asked` is the metadata that were sent.

    Where the reply names no authentication method, the one asked for counts. Raises `TokenError` for a refusal,
    `BadReplyError` for a client that cannot be used or other redirect URIs than asked for.
    """
    where = f"The registration endpoint {bare_url(reply.url)}"
    client = SecretJson(present(read_answer(reply) or {}))
    if reply.status >= 300:
        raise _refusal(reply, client, where, secrets)
    if not isinstance(client.get("client_id"), str) or not client["client_id"].strip():
        raise BadReplyError(f"{where} answered without a client_id.", kind="configuration")
    uris = asked.get("redirect_uris")
    echoed = client.get("redirect_uris", uris)
    echoed = [echoed] if isinstance(echoed, str) else echoed
    if uris is not None and not (isinstance(echoed, list) and set(uris) <= set(map(str, echoed))):
        raise BadReplyError(
            f"{where} registered other redirect URIs than requested.",
            next_step="Register redirect URIs that this server takes.",
            kind="configuration",
        )
    if uris is not None and echoed is not None:  # in our order, whose first one logins use
        client["redirect_uris"] = [*uris, *(uri for uri in echoed if uri not in uris)]
    managed, token = (client.get(name) for name in ("registration_client_uri", "registration_access_token"))
    if managed is not None:
        check_endpoint(str(managed), "registration_client_uri", allow_http=allow_http)
        if leads_inside(reply.url, str(managed)):  # where the registration access token would be sent
            raise BadReplyError(
                f"{where} named a registration_client_uri in a private network, and is not there itself.",
                kind="configuration",
            )
    if not isinstance(token, str | None) or not (token or "").isprintable():
        raise BadReplyError(f"{where} answered with a registration_access_token that is not a token.")
    if not isinstance(client.get(_METHOD), str):  # some servers write nothing, or a list
        listed, wanted = client.pop(_METHOD, None), asked.get(_METHOD)
        texts = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
        method = wanted if wanted in texts or not texts else texts[0]
        client |= {} if method is None else {_METHOD: method}
    if isinstance(client.get("scope"), list):
        client["scope"] = " ".join(split_scopes(client["scope"]))
    return client


def read_deletion(reply: Reply, secrets: Secrets) -> None:
    """Returns if the registration has ended (RFC 7592 §2.3). Raises `TokenError`."""
    if reply.status >= 300:
        raise _refusal(reply, read_answer(reply) or {}, f"The registration endpoint {bare_url(reply.url)}", secrets)


_STEPS = {
    "invalid_redirect_uri": "Register redirect URIs that this server takes.",
    "invalid_client_metadata": "Change the metadata that the server names.",
    "invalid_software_statement": "Get a software statement that this server trusts.",
    "unapproved_software_statement": "Get a software statement that this server trusts.",
    "invalid_token": "The access token for this registration has ended, or is another one's.",
}


def _refusal(reply: Reply, answer: Mapping[str, Any], where: str, secrets: Secrets) -> SlyError:
    """The error that a refusing reply stands for (RFC 7591 §3.2.2)."""
    code = printable(masked(str(answer.get("error", ""))[:4096], secrets), 80)
    description = printable(masked(str(answer.get("error_description", ""))[:4096], secrets))
    text = "".join(f", {part}" for part in (code, description) if part)
    step = _STEPS.get(code, "The server may not register clients without an initial access token.")
    transient = reply.status == 429 or reply.status >= 500
    return TokenError(
        reply.status,
        code or f"http_{reply.status}",
        description,
        reply.without(secrets),
        message=f"{where} refused: HTTP {reply.status}{text}.",
        next_step="Try again later." if transient else step,
        kind="transient" if transient else "configuration",
    )
