"""The dialogs that make client and user files: for the command line and for libraries' own `__main__`."""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .wizard import grant_wizard, scaffold_wizard
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(__name__, {"wizard": "grant_wizard scaffold_wizard"})

__all__ = ["grant_wizard", "scaffold_wizard"]
