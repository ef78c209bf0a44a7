"""How a program becomes a client: by an issuer's metadata, by registering, by a document of its own.

The rule: what discovery and registration learned is in the client's fields, so that its file keeps it. The readers are
imported where they are used, so that a program with a client file does not pay for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from ...errors import ConfigError, clean_traceback, printable
from ...tokens.client_auth import registered_name
from ...tokens.scopes import Scopes, join_scopes
from ...transport import requests as transport
from ...web.messages import Request
from ...web.secret_values import Secrets
from .client import Client

if TYPE_CHECKING:
    from aiohttp import ClientSession


class RegistrationCalls(Client):
    """Discovery (RFC 8414, RFC 9728), registration (RFC 7591) and its management (RFC 7592)."""

    @classmethod
    @clean_traceback
    async def discover(
        cls,
        issuer: str | None = None,
        id: str = "",
        secret: str | None = None,
        *,
        resource: str | None = None,
        client: "ClientSession | None" = None,
        **settings: Any,
    ) -> Self:
        """The client at an issuer whose metadata name the endpoints, or at the one that a resource's URL leads to.

        `settings` are `OAuth2App`'s, and override what the metadata say. With `resource` alone, the resource's own
        metadata (RFC 9728) name the issuer. `profile="fapi2"` holds client and server to the FAPI 2.0 Security Profile,
        and switches `dpop` on unless there is a `certificate`. Raises `ConfigError`, `BadReplyError`, `NetworkError`.
        """
        from .discovery import client_settings
        from .metadata_calls import issuer_metadata, resource_metadata

        allow_http = bool(settings.get("allow_http"))
        if issuer is None:
            if resource is None:
                raise ConfigError("discover needs an issuer, or a resource's URL.")
            found = await resource_metadata(resource, client, allow_http=allow_http)
            if found is None or not found.issuers:
                raise ConfigError(
                    f"{printable(resource, 100)} publishes no metadata that name an authorization server (RFC 9728).",
                    next_step="Give the issuer too.",
                )
            issuer, resource = found.issuers[0], found.resource
        metadata = await issuer_metadata(issuer, client, allow_http=allow_http)
        learned = client_settings(metadata)
        if "client_auth" in learned and not secret:
            del learned["client_auth"]  # chosen among the ways to send a secret
        given: dict[str, Any] = {"resource": resource} if resource is not None else {}
        if settings.get("profile") is not None and settings.get("certificate") is None:
            given["dpop"] = True  # the profile wants bound tokens, and names two ways
        app = cls(**{**learned, **given, **settings, "id": id, "secret": secret or None})
        if app.profile is not None:
            from .profile import check_profile, check_server

            check_profile(app)
            check_server(metadata, app)
        return app

    @classmethod
    @clean_traceback
    async def register(
        cls,
        issuer: str,
        *,
        client_name: str,
        redirect_uris: Iterable[str] = (),
        scopes: Scopes = (),
        initial_access_token: str | None = None,
        client: "ClientSession | None" = None,
        **metadata: Any,
    ) -> Self:
        """A new client, registered with the issuer (RFC 7591). Save its `to_dict()`: registering again makes another.

        `metadata` are further members of the registration; None leaves out one of our defaults. Raises `ConfigError`
        where the issuer registers no clients, `TokenError`, `BadReplyError`, `NetworkError`.
        """
        from .metadata_calls import issuer_metadata

        return await cls._register_at(
            await issuer_metadata(issuer, client),
            client_name=client_name,
            redirect_uris=redirect_uris,
            scopes=scopes,
            initial_access_token=initial_access_token,
            client=client,
            **metadata,
        )

    @classmethod
    @clean_traceback
    async def _register_at(
        cls,
        server: Mapping[str, Any],
        *,
        client_name: str,
        redirect_uris: Iterable[str] = (),
        scopes: Scopes = (),
        initial_access_token: str | None = None,
        device: bool = False,
        client: "ClientSession | None" = None,
        **metadata: Any,
    ) -> Self:
        """As `register`, at the server of these metadata; `device`: also for the device flow, if it is offered."""
        from ..messages import registration
        from .discovery import client_settings

        learned = client_settings(server)
        if "register_uri" not in learned:
            raise ConfigError(
                f"{printable(server['issuer'], 100)} does not offer client registration (RFC 7591).",
                next_step="Register the client in the provider's console.",
            )
        scope = join_scopes(scopes)
        asked = registration.client_metadata(client_name, redirect_uris, scope, metadata, server, device=device)
        request = registration.registration_request(learned["register_uri"], asked, initial_access_token)
        reply = await transport.send(request, client)
        registered = registration.read_registration(reply, asked, Secrets((initial_access_token or "",)))
        learned.pop("client_auth", None)
        return cls(**{"secret": None, **learned, **registration.registered_settings(registered)})

    @clean_traceback
    async def update_registration(self, *, client: "ClientSession | None" = None, **metadata: Any) -> Self:
        """The client with changed metadata (RFC 7592 §2.2); what is not named stays, None removes a member.

        Raises `ConfigError` for a client that cannot be managed, `TokenError`, `BadReplyError`, `NetworkError`.
        """
        from ..messages import registration

        current = await self._manage(None, client)
        changed = await self._manage(registration.changed_metadata(current, metadata), client)
        return replace(self, **registration.registered_settings(changed))

    @clean_traceback
    async def delete_registration(self, *, client: "ClientSession | None" = None) -> None:
        """Ends the registration, and with it every grant (RFC 7592 §2.3). Raises as `update_registration`."""
        from ..messages import registration

        uri, token = self._registration()
        reply = await transport.send(registration.deletion_request(uri, token), client, timeout=self.token_timeout)
        registration.read_deletion(reply, Secrets((token,)))

    async def _manage(self, metadata: Mapping[str, Any] | None, client: "ClientSession | None") -> dict[str, Any]:
        """The registration as it is, or changed to `metadata`; keeps the access token that the reply renews."""
        from ..messages import registration

        uri, token = self._registration()
        request: Request = registration.management_request(uri, token, metadata)
        reply = await transport.send(request, client, timeout=self.token_timeout)
        secrets = Secrets((token, self.secret or ""))
        method = self._known_client_auth()
        ours = {"token_endpoint_auth_method": registered_name(method)} if method else {}
        asked = ours | dict(metadata or {})
        registered = registration.read_registration(reply, asked, secrets, allow_http=self.allow_http)
        # at once: the one before may have ended, whatever becomes of the next request
        self.registration_access_token: str | None = registered.get("registration_access_token") or token
        self.registration_client_uri: str | None = registered.get("registration_client_uri") or uri
        return registered

    def _registration(self) -> tuple[str, str]:
        if not self.registration_client_uri or not self.registration_access_token:
            raise ConfigError(
                "This client's registration cannot be changed from here: it has no registration access token.",
                next_step="Change it in the provider's console, or register with OAuth2App.register.",
            )
        return self.registration_client_uri, self.registration_access_token

    @clean_traceback
    def client_metadata(
        self, *, client_name: str, redirect_uris: Iterable[str], scopes: Scopes = (), **metadata: Any
    ) -> dict[str, Any]:
        """The document to publish at `id`, an https URL, for servers that read it in place of a registration.

        With a `key` it names the key's public half. Raises `ConfigError` for an `id` that is not such a URL.
        """
        from ..messages import registration

        parts = urlsplit(self.id)
        if parts.scheme != "https" or not parts.hostname or len(parts.path) < 2 or parts.fragment or parts.username:
            raise ConfigError(
                "The id of a client with a metadata document is the document's address: an https URL with a path."
            )
        own: dict[str, Any] = {"token_endpoint_auth_method": registered_name(self._known_client_auth() or "none")}
        if self.dpop:
            own["dpop_bound_access_tokens"] = True  # RFC 9449 §5.2
        if self.key is not None:
            key = self._signing_key()
            if own["token_endpoint_auth_method"] == "private_key_jwt":
                own["token_endpoint_auth_signing_alg"] = key.alg
            if key.public is None and "jwks_uri" not in metadata and "jwks" not in metadata:
                raise ConfigError("The public half of this key is unknown.", next_step="Give jwks= or jwks_uri=.")
            if key.public is not None and "jwks_uri" not in metadata:
                named = {"kid": key.key_id} if key.key_id else {}
                own["jwks"] = {"keys": [{**key.public, **named, "use": "sig", "alg": key.alg}]}
        elif self.secret:
            raise ConfigError("A client with a metadata document has no secret, since everybody can read it.")
        described = registration.client_metadata(client_name, redirect_uris, join_scopes(scopes), {**own, **metadata})
        return {"client_id": self.id, **described}
