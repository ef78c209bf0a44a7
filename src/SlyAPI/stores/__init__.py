"""Where tokens live between refreshes: stores of many users, and the file of one.

The rule: `save` returns when the value would survive a crash, and a lock never outlives its holder.
"""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .at import store_at
    from .contract import Lease, StoredUser, TokenStore
    from .encrypted import EncryptedStore
    from .expiring_users import expiring
    from .file import FileStore, user_file
    from .keyring import KeyringStore
    from .memory import MemoryStore
    from .postgres import PostgresStore
    from .redis import RedisStore
    from .sqlite import SqliteStore
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "at": "store_at",
            "contract": "Lease StoredUser TokenStore",
            "encrypted": "EncryptedStore",
            "expiring_users": "expiring",
            "file": "FileStore user_file",
            "keyring": "KeyringStore",
            "memory": "MemoryStore",
            "postgres": "PostgresStore",
            "redis": "RedisStore",
            "sqlite": "SqliteStore",
        },
    )

__all__ = [
    "EncryptedStore",
    "FileStore",
    "KeyringStore",
    "Lease",
    "MemoryStore",
    "PostgresStore",
    "RedisStore",
    "SqliteStore",
    "StoredUser",
    "TokenStore",
    "expiring",
    "store_at",
    "user_file",
]
