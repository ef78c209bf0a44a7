"""Where tokens live between refreshes: stores of many users, and the file of one.

The rule: `save` returns when the value would survive a crash, and a lock never outlives its holder.
"""

from .contract import StoredUser, TokenStore
from .file import FileStore, user_file
from .keyring import KeyringStore
from .memory import MemoryStore
from .sqlite import SqliteStore

__all__ = ["FileStore", "KeyringStore", "MemoryStore", "SqliteStore", "StoredUser", "TokenStore", "user_file"]
