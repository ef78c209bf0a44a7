"""Attributes that few objects have a value for."""
from __future__ import annotations

from typing import Any

from SlyAPI.oauth2.seldom import Seldom


class Room:
    __slots__ = ("_seldom",)

    guest = Seldom[str]()
    guests = Seldom[list[str]]()

    def __init__(self) -> None:
        self._seldom: dict[str, Any] | None = None


def test_what_was_not_set_is_none_and_takes_no_room() -> None:
    room = Room()
    room.guest = None
    assert (room.guest, room.guests, room._seldom) == (None, None, None)


def test_each_attribute_of_each_object_has_its_own_value() -> None:
    one, other = Room(), Room()
    one.guest, one.guests = "Robin", ["Robin"]
    other.guest = "Kim"
    assert (one.guest, one.guests, other.guest, other.guests) == ("Robin", ["Robin"], "Kim", None)


def test_it_can_be_none_again() -> None:
    room = Room()
    room.guest = "Robin"
    room.guest = None
    assert room.guest is None


def test_the_class_gives_the_attribute_itself() -> None:
    assert isinstance(Room.guest, Seldom)
