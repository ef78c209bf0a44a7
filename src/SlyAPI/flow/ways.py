"""Which way a grant takes: a browser here, another device, or no person at all."""

from ..errors import TokenError
from ..oauth2 import ClientCredentials, OAuth2App, OAuth2User
from ..redirect.browser import NoBrowser, how_to_open
from .console import Console
from .device import grant_by_device
from .for_resource import grant_for_resource
from .grant import GrantOptions, Save, grant
from .progress import waiting


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
