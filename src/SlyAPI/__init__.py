"""SlyAPI: call web APIs as a user, from async Python, with OAuth 2 grants that last.

PYTEST_DONT_REWRITE: pytest would warn where a program imports this package before it.
"""

import typing

from .names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .auth import Auth, HeaderApiKey, NoAuth, UrlApiKey
    from .errors import ApiError, GrantEndedError, SlyError, TokenError
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
    from .webapi import WebAPI
    from .webapi.lazy import AsyncLazy, AsyncTrans

    # importable by name, not part of `*`: `X as X` tells type checkers so
    # isort: off
    from .errors import (  # fmt: skip
        BadReplyError as BadReplyError, ConfigError as ConfigError, CredentialsError as CredentialsError,
        CredentialsNotFoundError as CredentialsNotFoundError, DecryptionError as DecryptionError,
        DeniedError as DeniedError, GrantTimeoutError as GrantTimeoutError, IdentityError as IdentityError,
        LimitError as LimitError, ListenError as ListenError, LoginEndedError as LoginEndedError,
        MissingExtraError as MissingExtraError, NetworkError as NetworkError, OriginError as OriginError,
        RedirectError as RedirectError, RequestTimeoutError as RequestTimeoutError, SaveError as SaveError,
        StateMismatchError as StateMismatchError, SupersededError as SupersededError,
        UnavailableError as UnavailableError, WouldOverwriteError as WouldOverwriteError
    )
    from .limits import Limits as Limits
    from .retry import Retry as Retry
    from .stores import (  # fmt: skip
        EncryptedStore as EncryptedStore, FileStore as FileStore, KeyringStore as KeyringStore,
        MemoryStore as MemoryStore, PostgresStore as PostgresStore, RedisStore as RedisStore,
        SqliteStore as SqliteStore
    )
    from .webapi.answer import Answer as Answer
    # isort: on
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
