"""A grant that begins at a resource's URL: `grant --resource URL APP.json USER.json`.

The rule: the same steps as any grant; only the client and the scopes are found out, once it is known where the redirect
goes.
"""

from ..oauth2 import OAuth2User
from ..oauth2.from_url.resource_login import ResourceLogin
from .console import Console
from .grant import DEFAULT_REDIRECT_URI, GrantOptions, OAuth2Question, Question, Save, grant_by, new_link
from .progress import waiting


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
