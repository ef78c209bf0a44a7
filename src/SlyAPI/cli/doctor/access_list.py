"""Who may read a file of Windows, by its access list; on other systems its mode says it.

The rule: the owner, administrators and the system do not count, since they can read every file of the machine.
"""

import ctypes
import re
from typing import Any

_NAMES = {
    "WD": "Everyone", "AU": "Authenticated Users", "BU": "Users", "BG": "Guests", "AN": "Anonymous",
    "IU": "Interactive", "NU": "Network", "DU": "Domain Users", "DG": "Domain Guests",
}
_PASSED_OVER = {"SY", "BA", "LA", "DA", "OW", "CO"}
_ENTRY = re.compile(r"\(A;([A-Z]*);([^;]*);[^;]*;[^;]*;([^;)]*)")
_OWNER = re.compile(r"O:([A-Z]{2}(?=[GDS]:|$)|S-[0-9-]+)")
_READ = re.compile(r"^(?:..)*(?:FA|FR|GA|GR|CC)")
_READ_BITS = 0x80000000 | 0x10000000 | 0x1  # GENERIC_READ, GENERIC_ALL, FILE_READ_DATA


def readers(descriptor: str) -> list[str]:
    """Who else may read, from a security descriptor in its text form (SDDL): names, or SIDs; without doubles."""
    if "D:NO_ACCESS_CONTROL" in descriptor:
        return [_NAMES["WD"]]
    owner = _OWNER.match(descriptor)
    found: list[str] = [
        account
        for flags, rights, account in _ENTRY.findall(descriptor)
        if "IO" not in re.findall("..", flags) and _reads(rights) and account not in _PASSED_OVER
    ]
    return list(dict.fromkeys(_NAMES.get(each, each) for each in found if owner is None or each != owner[1]))


def _reads(rights: str) -> bool:
    return bool(int(rights, 16) & _READ_BITS) if rights.startswith("0x") else _READ.match(rights) is not None


def descriptor_of(path: str) -> str:
    """The owner and the access list of a file, in text form; empty where the system does not tell."""
    advapi, kernel = _library("advapi32"), _library("kernel32")
    descriptor, text = ctypes.c_void_p(), ctypes.c_wchar_p()
    if advapi.GetNamedSecurityInfoW(path, 1, 1 | 4, None, None, None, None, ctypes.byref(descriptor)):
        return ""
    try:
        written = advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW
        return (text.value or "") if written(descriptor, 1, 1 | 4, ctypes.byref(text), None) else ""
    finally:
        kernel.LocalFree(text)
        kernel.LocalFree(descriptor)


def _library(name: str) -> Any:
    return getattr(ctypes, "WinDLL")(name)  # noqa: B009  # a type checker on another system does not know it
