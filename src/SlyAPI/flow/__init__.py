"""What a person is asked, and in which order: for the command line and for libraries' own `__main__`."""

from .wizard import grant_wizard, scaffold_wizard

__all__ = ["grant_wizard", "scaffold_wizard"]
