"""SlyAPI: call web APIs as a user, from async Python, with OAuth 2 grants that last.

PYTEST_DONT_REWRITE: pytest would warn where a program imports this package before it.
"""

import typing

from .names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .auth import Auth, HeaderApiKey, NoAuth, UrlApiKey
    from .errors import ApiError, GrantEndedError, SlyError, TokenError

    # importable by name, not part of `*`: `X as X` tells type checkers so
    from .errors import (
        BadReplyError as BadReplyError,
    )
    from .errors import (
        ConfigError as ConfigError,
    )
    from .errors import (
        CredentialsError as CredentialsError,
    )
    from .errors import (
        CredentialsNotFoundError as CredentialsNotFoundError,
    )
    from .errors import (
        DecryptionError as DecryptionError,
    )
    from .errors import (
        DeniedError as DeniedError,
    )
    from .errors import (
        GrantTimeoutError as GrantTimeoutError,
    )
    from .errors import (
        IdentityError as IdentityError,
    )
    from .errors import (
        LimitError as LimitError,
    )
    from .errors import (
        ListenError as ListenError,
    )
    from .errors import (
        LoginEndedError as LoginEndedError,
    )
    from .errors import (
        MissingExtraError as MissingExtraError,
    )
    from .errors import (
        NetworkError as NetworkError,
    )
    from .errors import (
        OriginError as OriginError,
    )
    from .errors import (
        RedirectError as RedirectError,
    )
    from .errors import (
        RequestTimeoutError as RequestTimeoutError,
    )
    from .errors import (
        SaveError as SaveError,
    )
    from .errors import (
        StateMismatchError as StateMismatchError,
    )
    from .errors import (
        SupersededError as SupersededError,
    )
    from .errors import (
        UnavailableError as UnavailableError,
    )
    from .errors import (
        WouldOverwriteError as WouldOverwriteError,
    )
    from .limits import Limits as Limits
    from .oauth1 import OAuth1, OAuth1App, OAuth1User
    from .oauth2 import (
        AssertionGrant,
        ClientCredentials,
        OAuth2,
        OAuth2App,
        OAuth2ServiceAccount,
        OAuth2User,
        TokenExchange,
        keep_fresh,
        requires_scopes,
    )
    from .retry import Retry as Retry
    from .stores import (
        EncryptedStore as EncryptedStore,
    )
    from .stores import (
        FileStore as FileStore,
    )
    from .stores import (
        KeyringStore as KeyringStore,
    )
    from .stores import (
        MemoryStore as MemoryStore,
    )
    from .stores import (
        PostgresStore as PostgresStore,
    )
    from .stores import (
        RedisStore as RedisStore,
    )
    from .stores import (
        SqliteStore as SqliteStore,
    )
    from .webapi import WebAPI
    from .webapi.answer import Answer as Answer
    from .webapi.lazy import AsyncLazy, AsyncTrans
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "auth": "Auth HeaderApiKey NoAuth UrlApiKey",
            "errors": "ApiError BadReplyError ConfigError CredentialsError CredentialsNotFoundError DecryptionError "
            "DeniedError GrantEndedError GrantTimeoutError IdentityError LimitError ListenError "
            "LoginEndedError MissingExtraError NetworkError OriginError RedirectError RequestTimeoutError "
            "SaveError SlyError StateMismatchError SupersededError TokenError UnavailableError "
            "WouldOverwriteError",
            "limits": "Limits",
            "oauth1": "OAuth1 OAuth1App OAuth1User",
            "oauth2": "AssertionGrant ClientCredentials OAuth2 OAuth2App OAuth2ServiceAccount OAuth2User "
            "TokenExchange keep_fresh requires_scopes",
            "retry": "Retry",
            "stores": "EncryptedStore FileStore KeyringStore MemoryStore PostgresStore RedisStore SqliteStore",
            "webapi": "WebAPI",
            "webapi.answer": "Answer",
            "webapi.lazy": "AsyncLazy AsyncTrans",
            **dict.fromkeys(("asyncy", "json_file", "paging", "params", "service_account"), ""),
            **dict.fromkeys(("sources", "web"), ""),
        },
    )

__all__ = [
    "ApiError",
    "AssertionGrant",
    "AsyncLazy",
    "AsyncTrans",
    "Auth",
    "ClientCredentials",
    "GrantEndedError",
    "HeaderApiKey",
    "NoAuth",
    "OAuth1",
    "OAuth1App",
    "OAuth1User",
    "OAuth2",
    "OAuth2App",
    "OAuth2ServiceAccount",
    "OAuth2User",
    "SlyError",
    "TokenError",
    "TokenExchange",
    "UrlApiKey",
    "WebAPI",
    "keep_fresh",
    "requires_scopes",
]
