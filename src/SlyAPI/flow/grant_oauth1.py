"""One grant by OAuth 1 (RFC 5849 §2), by the steps in `grant`."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import clean_traceback
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
