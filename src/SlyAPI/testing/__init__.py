"""A provider to practise on and to test against; it shares no code with the client."""
from .endpoint import Seen
from .features import GRANT_TYPES
from .persistent import keep, kept_provider
from .provider import SCOPES, PracticeProvider

__all__ = ["GRANT_TYPES", "SCOPES", "PracticeProvider", "Seen", "keep", "kept_provider"]
