"""A QR code in the characters of a terminal, by the package segno. Pure.

The rule: the picture is a convenience; without the package there is none, and the address is printed in any case.
"""

_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def qr_lines(text: str) -> list[str]:
    """The QR code of a text, two rows of it in each line; empty without the package, or for too long a text."""
    try:
        import segno

        code = segno.make(text, error="l", micro=False)
    except (ImportError, ValueError):
        return []
    rows = [[bool(dark) for dark in row] for row in code.matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(_HALVES[halves] for halves in zip(top, bottom, strict=True)) for top, bottom in pairs]
