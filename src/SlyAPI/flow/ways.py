"""Which way a grant takes: a browser here, another device, no person at all; from a resource's URL, or by OAuth 1."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import TokenError, clean_traceback
from ..oauth1 import OAuth1App, OAuth1User
from ..oauth1.grant import read_redirect
from ..oauth1.user import TemporaryCredentials
from ..oauth2 import ClientCredentials, OAuth2App, OAuth2User
from ..oauth2.from_url.resource_login import ResourceLogin
from ..redirect.browser import NoBrowser, how_to_open
from .console import Console
from .device import grant_by_device
from .grant import DEFAULT_REDIRECT_URI, GrantOptions, OAuth2Question, Question, Save, grant, grant_by, new_link
from .progress import waiting


@dataclass
class _OAuth1Question(Question[OAuth1User]):
    app: OAuth1App
    temporary: TemporaryCredentials
    params: Mapping[str, str]

    @property
    def url(self) -> str:
        return self.app.authorize_url(self.temporary, self.params)

    async def read(self, query: str) -> str:
        return read_redirect(query, self.temporary)

    @property
    def takes_bare_code(self) -> bool:
        return True  # a verifier is valid only for these temporary credentials (RFC 5849 §2.3)

    async def exchange(self, code: str) -> OAuth1User:
        return await self.app.exchange_verifier(code, self.temporary)


@clean_traceback
async def grant_oauth1(app: OAuth1App, options: GrantOptions, console: Console, save: Save[OAuth1User]) -> OAuth1User:
    """As `grant`; first requests temporary credentials from the provider."""

    async def ask(callback_uri: str) -> Question[OAuth1User]:
        temporary = await app.ask(callback_uri)
        return _OAuth1Question(app, temporary, options.auth_params)

    return await grant_by(ask, DEFAULT_REDIRECT_URI, options, console, save)


async def grant_for_resource(
    login: ResourceLogin, scopes: list[str], options: GrantOptions, console: Console, save: Save[OAuth2User]
) -> OAuth2User:
    """The user who consented, already saved, as is the client. Raises what `grant` and `ResourceLogin` raise."""
    login.scopes = scopes
    async with waiting(console, "Asking the API who its provider is"):
        wish = await login.first_refusal()

    async def ask(redirect_uri: str) -> Question[OAuth2User]:
        async with waiting(console, "Asking the provider"):
            plan = await login.plan(wish, None, None)
            app = await login.client_for(plan, redirect_uri, None)
        link = await new_link(app, redirect_uri, plan.scopes, options, plan.resource)
        return OAuth2Question(app, plan.scopes, redirect_uri, options.client_auth, link, plan.resource)

    return await grant_by(ask, login.app.redirect_uri or DEFAULT_REDIRECT_URI, options, console, save)


async def grant_by_chosen_way(
    app: OAuth2App, scopes: list[str], options: GrantOptions, console: Console, save: Save[OAuth2User]
) -> OAuth2User:
    """The user, already saved. Raises what `grant`, `grant_for_resource` and `grant_by_device` raise."""
    if options.resource is not None:
        return await grant_for_resource(options.resource, scopes, options, console, save)
    if options.way == "machine":
        async with waiting(console, "Asking for a token"):
            user = await ClientCredentials(app, scopes, token_params=options.token_params).refresh_now()
        await save(user)
        return user
    if options.way == "device":
        return await grant_by_device(app, scopes, options, console, save)
    if options.way == "browser or device" and app.device_uri and not can_open(options):
        try:
            return await grant_by_device(app, scopes, options, console, save)
        except TokenError as error:
            if error.error != "unauthorized_client":
                raise
        console.say("The provider does not allow this client a login on another device.")
    return await grant(app, scopes, options, console, save)


def can_open(options: GrantOptions) -> bool:
    """Whether there may be a browser on this machine."""
    machine = options.machine
    return not isinstance(how_to_open(machine.environ, machine.platform, machine.proc_version), NoBrowser)
