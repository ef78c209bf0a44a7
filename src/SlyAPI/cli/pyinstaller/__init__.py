"""What PyInstaller has to know of this package: its entry point `pyinstaller40` names `hook_dirs`.

The rule: imports nothing; a program never loads it. Modules need no entry, for PyInstaller reads import statements.
"""


def hook_dirs() -> list[str]:
    """The folders with hooks for PyInstaller: this one."""
    return [*__path__]
