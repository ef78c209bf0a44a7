"""Where tokens live between refreshes: stores of many users, and the file of one.

The rule: `save` returns when the value would survive a crash, and a lock never outlives its holder.
"""

from .at import store_at
from .contract import StoredUser, TokenStore
from .encrypted import EncryptedStore
from .expiring import expiring
from .file import FileStore, user_file
from .keyring import KeyringStore
from .memory import MemoryStore
from .postgres import PostgresStore
from .redis import RedisStore
from .sqlite import SqliteStore

__all__ = [
    "EncryptedStore",
    "FileStore",
    "KeyringStore",
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
