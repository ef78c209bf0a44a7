"""Google Sheets API v4, as its reference has it: spreadsheets.get, and values get, update, append and clear.

https://developers.google.com/sheets/api/reference/rest
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.compat.google import SHEETS, SHEETS_READONLY, Asked, Google, GoogleError, invalid

COLUMNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_A1 = re.compile(r"(?:'((?:[^']|'')+)'|(\w+))!([A-Z])(\d+)?(?::([A-Z])(\d+)?)?")
_RENDER = ("FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA")


class Range(NamedTuple):
    """Zero-based, the end excluded; None is the end of the grid."""

    title: str
    top: int
    left: int
    bottom: int | None
    right: int

    def __str__(self) -> str:
        last = f"{COLUMNS[self.right - 1]}{self.bottom or ''}"
        return f"'{self.title}'!{COLUMNS[self.left]}{self.top + 1}:{last}"


def read_range(text: str) -> Range:
    match = _A1.fullmatch(text)
    if match is None:
        raise invalid(f"Unable to parse range: {text}")
    quoted, plain, left, top, right, bottom = match.groups()
    end = int(bottom) if bottom else (None if right else int(top or 1))
    return Range(
        quoted.replace("''", "'") if quoted else plain,
        int(top or 1) - 1,
        COLUMNS.index(left),
        end,
        COLUMNS.index(right or left) + 1,
    )


@dataclass
class Sheet:
    """One page; `cells` by (row, column), what is empty is not there."""

    id: int
    title: str
    rows: int = 1000
    columns: int = 5
    cells: dict[tuple[int, int], Any] = field(default_factory=dict[tuple[int, int], Any])

    def write(self, top: int, left: int, values: list[list[Any]]) -> int:
        """Null leaves a cell as it is, an empty text empties it; gives the number of cells."""
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if value == "":
                    self.cells.pop((top + y, left + x), None)
                elif value is not None:
                    self.cells[top + y, left + x] = value
        return sum(len(row) for row in values)

    def read(self, at: Range) -> list[list[Any]]:
        """Rows without the empty cells at their ends, and without the empty rows at the end."""
        bottom = self.rows if at.bottom is None else at.bottom
        rows: list[list[Any]] = []
        for y in range(at.top, bottom):
            row = [self.cells.get((y, x), "") for x in range(at.left, at.right)]
            while row and row[-1] == "":
                row.pop()
            rows.append(row)
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def bottom(self) -> int:
        return max((y + 1 for y, _ in self.cells), default=0)


@dataclass
class Spreadsheets:
    """The spreadsheets of one account."""

    files: dict[str, list[Sheet]]
    title: str = "Cities ü"
    time_zone: str = "Europe/Oslo"

    def serve(self, google: Google) -> None:
        either = (SHEETS, SHEETS_READONLY)
        google.endpoints["GET /v4/spreadsheets/"] = (self._get, either)
        google.endpoints["PUT /v4/spreadsheets/"] = (self._put, (SHEETS,))
        google.endpoints["POST /v4/spreadsheets/"] = (self._post, (SHEETS,))

    def _sheets(self, asked: Asked) -> tuple[list[Sheet], str]:
        name, _, rest = asked.rest.partition("/")
        if name not in self.files:
            raise GoogleError(404, "NOT_FOUND", "Requested entity was not found.")
        return self.files[name], rest

    def _at(self, sheets: list[Sheet], text: str) -> tuple[Sheet, Range]:
        at = read_range(text)
        for sheet in sheets:
            if sheet.title == at.title:
                return sheet, at
        raise invalid(f"Unable to parse range: {text}")

    def _get(self, asked: Asked) -> Mapping[str, Any]:
        sheets, rest = self._sheets(asked)
        if not rest:
            return {
                "spreadsheetId": asked.rest,
                "properties": {"title": self.title, "locale": "en_GB", "timeZone": self.time_zone},
                "sheets": [_meta(index, sheet) for index, sheet in enumerate(sheets)],
            }
        sheet, at = self._at(sheets, rest.removeprefix("values/"))
        if asked.params.get("valueRenderOption", _RENDER[0]) not in _RENDER:
            raise invalid("Invalid value at 'value_render_option'")
        found = sheet.read(at)
        told: dict[str, Any] = {"range": str(at), "majorDimension": "ROWS"}
        return {**told, "values": found} if found else told

    def _put(self, asked: Asked) -> Mapping[str, Any]:
        sheets, rest = self._sheets(asked)
        sheet, at = self._at(sheets, rest.removeprefix("values/"))
        values = _values(asked, rest.removeprefix("values/"))
        too_tall = at.bottom is not None and len(values) > at.bottom - at.top
        if too_tall or any(len(row) > at.right - at.left for row in values):
            raise invalid(f"Requested writing within range [{at}], but tried writing outside of it")
        return {"spreadsheetId": asked.rest.partition("/")[0], **_updated(at, sheet.write(at.top, at.left, values))}

    def _post(self, asked: Asked) -> Mapping[str, Any]:
        sheets, rest = self._sheets(asked)
        text, _, verb = rest.removeprefix("values/").rpartition(":")
        name = asked.rest.partition("/")[0]
        sheet, at = self._at(sheets, text)
        if verb == "clear":
            if asked.body:
                raise invalid("The request body must be empty.")
            sheet.write(at.top, at.left, [[""] * (at.right - at.left)] * ((at.bottom or sheet.rows) - at.top))
            return {"spreadsheetId": name, "clearedRange": str(at)}
        if verb != "append":
            raise GoogleError(404, "NOT_FOUND", "Not found.")
        values = _values(asked, text)
        written = sheet.write(sheet.bottom(), at.left, values)
        return {"spreadsheetId": name, "tableRange": str(at), "updates": _updated(at, written)}


def _meta(index: int, sheet: Sheet) -> dict[str, Any]:
    grid = {"rowCount": sheet.rows, "columnCount": sheet.columns}
    properties = {"sheetId": sheet.id, "title": sheet.title, "index": index, "sheetType": "GRID"}
    return {"properties": {**properties, "gridProperties": grid}}


def _values(asked: Asked, text: str) -> list[list[Any]]:
    """The values of a ValueRange. Like Google, refuses one without an input option, or for another range."""
    if asked.params.get("valueInputOption") not in ("RAW", "USER_ENTERED"):
        raise invalid("'valueInputOption' is required but not specified")
    if asked.body.get("range", text) != text or asked.body.get("majorDimension", "ROWS") != "ROWS":
        raise invalid(f"Requested writing within range [{text}], but tried writing to another")
    values = asked.body.get("values")
    if not isinstance(values, list) or not all(isinstance(row, list) for row in values):
        raise invalid("Invalid value at 'data.values'")
    return values


def _updated(at: Range, cells: int) -> dict[str, Any]:
    return {"updatedRange": str(at), "updatedCells": cells}
