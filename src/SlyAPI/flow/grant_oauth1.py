"""One grant by OAuth 1 (RFC 5849 §2): its question for the steps in `grant`."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..oauth1 import OAuth1App, OAuth1User
from ..oauth1.grant import read_redirect
from ..oauth1.user import TemporaryCredentials
from .console import Console
from .grant import DEFAULT_REDIRECT_URI, GrantOptions, Question, Save, grant_by


@dataclass
class _OAuth1Question(Question[OAuth1User]):
    app: OAuth1App
    temporary: TemporaryCredentials
    params: Mapping[str, str]

    @property
    def url(self) -> str:
        return self.app.authorize_url(self.temporary, self.params)

    def read(self, query: str) -> str:
        return read_redirect(query, self.temporary)

    @property
    def takes_bare_code(self) -> bool:
        return True  # a verifier is good for these temporary credentials alone (RFC 5849 §2.3)

    async def exchange(self, code: str) -> OAuth1User:
        exchange = self.app.exchange_verifier(code, self.temporary)
        del code  # so that no traceback shows it
        return await exchange


async def grant_oauth1(
    app: OAuth1App, options: GrantOptions, console: Console, save: Save[OAuth1User]
) -> OAuth1User:
    """The user who consented, saved. Raises as `grant`; the provider is first asked for temporary credentials."""

    async def ask(callback_uri: str) -> Question[OAuth1User]:
        temporary = await app.ask(callback_uri)
        return _OAuth1Question(app, temporary, options.auth_params)

    return await grant_by(ask, DEFAULT_REDIRECT_URI, options, console, save)
