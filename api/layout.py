"""Text laid out for terminals: widths measured, long values cut in the middle, colour only where one should look."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

ELLIPSIS = "…"
GAP = 2
"""Columns between two cells of a table."""


class Style(Enum):
    """How a piece of text looks: an SGR code (ECMA-48 8.3.117). Vermilion and amber from Okabe and Ito's palette."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    AMBER = "38;5;178"
    VERMILION = "38;5;166"


class Piece(NamedTuple):
    """Text in one style."""

    text: str
    style: Style = Style.PLAIN


Cell = Piece | str


class Heading(NamedTuple):
    """Head of a column."""

    name: str
    right: bool = False
    least: int | None = None
    """May be cut down to this width where the line is too long; None: never cut."""
    joint: str | None = None
    """Stands between two values of one cell, which are then cut each for itself."""
    prose: bool = False
    """Holds sentences, which lose their end and not their middle."""


class Screen(NamedTuple):
    """What the text is laid out for."""

    width: int = 100
    colour: bool = False

    def paint(self, text: str, style: Style) -> str:
        """Text in a style, where there is colour."""
        if not self.colour or style is Style.PLAIN or not text:
            return text
        return f"\x1b[{style.value}m{text}\x1b[0m"


def clean(text: str) -> str:
    """Text from a packet made safe to print: control and direction characters would command the terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("\ufffd" if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") else sign for sign in text)


def sign_width(sign: str) -> int:
    """Columns that one character takes."""
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1


def width(text: str) -> int:
    """Columns that a text takes."""
    return len(text) if text.isascii() else sum(map(sign_width, text))


def head(text: str, room: int) -> str:
    """The beginning of a text that fits."""
    used = 0
    for index, sign in enumerate(text):
        used += sign_width(sign)
        if used > room:
            return text[:index]
    return text


def cut(text: str, room: int) -> str:
    """A text that fits: both ends of a long one, for they tell values apart."""
    if width(text) <= room:
        return text
    if room <= 1:
        return ELLIPSIS[:room]
    left = head(text, room // 2)
    right = head(text[::-1], room - 1 - width(left))[::-1]
    return f"{left}{ELLIPSIS}{right}"


def cut_end(text: str, room: int) -> str:
    """A sentence that fits: its beginning."""
    return text if width(text) <= room else head(text, room - 1).rstrip() + ELLIPSIS


def shortened(text: str, heading: Heading, room: int) -> str:
    """A cell's text that fits, cut as its column asks for."""
    if heading.joint:
        return cut_pair(text, heading.joint, room)
    return cut_end(text, room) if heading.prose else cut(text, room)


def cut_pair(text: str, joint: str, room: int) -> str:
    """Two joined values that fit, the shorter one spared where its share leaves room."""
    left, found, right = text.partition(joint)
    if width(text) <= room or not found:
        return cut(text, room)
    free = max(2, room - width(joint))
    share = max(free // 2, free - width(right)) if width(left) > free // 2 else width(left)
    return f"{cut(left, share)}{joint}{cut(right, free - share)}"


def pad(text: str, room: int, right: bool = False) -> str:
    """A text filled up with blanks."""
    blanks = " " * max(0, room - width(text))
    return blanks + text if right else text + blanks


def spread(left: str, right: str, room: int) -> str:
    """Two texts at the two ends of a line; the right one moves to a line of its own where both do not fit."""
    free = room - width(left) - width(right)
    if not right:
        return left
    if free >= GAP:
        return left + " " * free + right
    return f"{left}\n{pad(right, room, right=True)}"


def table(headings: Sequence[Heading], rows: Iterable[Sequence[Cell]], screen: Screen, indent: int = 2) -> list[str]:
    """Lines of a table that fits the screen; column names are dim."""
    pieces = [[cell if isinstance(cell, Piece) else Piece(cell) for cell in row] for row in rows]
    widths = fitted(headings, pieces, screen.width - indent)
    lines = [line([Piece(heading.name, Style.DIM) for heading in headings], headings, widths, screen, indent)]
    lines.extend(line(row, headings, widths, screen, indent) for row in pieces)
    return lines


def fitted(headings: Sequence[Heading], rows: Sequence[Sequence[Piece]], room: int) -> list[int]:
    """Widths of columns: as wide as needed, the widest that may be cut gives way first."""
    widths = [
        max([width(heading.name), *(width(row[index].text) for row in rows)]) for index, heading in enumerate(headings)
    ]
    excess = sum(widths) + GAP * (len(widths) - 1) - room
    while excess > 0:
        shrinkable = [
            index
            for index, heading in enumerate(headings)
            if heading.least is not None and widths[index] > max(heading.least, width(heading.name))
        ]
        if not shrinkable:
            break
        widest = max(shrinkable, key=lambda index: widths[index])
        widths[widest] -= 1
        excess -= 1
    return widths


def line(row: Sequence[Piece], headings: Sequence[Heading], widths: Sequence[int], screen: Screen, indent: int) -> str:
    """One line of a table, without blanks at its end."""
    cells = []
    for piece, heading, room in zip(row, headings, widths, strict=True):
        text = shortened(piece.text, heading, room)
        blanks = " " * (room - width(text))
        painted = screen.paint(text, piece.style)
        cells.append(blanks + painted if heading.right else painted + blanks)
    return (" " * indent + (" " * GAP).join(cells)).rstrip()


def wrap(words: Iterable[str], separator: str, room: int, indent: str = "") -> list[str]:
    """Words joined into lines that fit, later lines indented."""
    lines: list[str] = []
    current = ""
    for word in words:
        joined = f"{current}{separator}{word}" if current else (indent if lines else "") + word
        if current and width(joined) > room:
            lines.append(current)
            joined = indent + word
        current = joined
    return [*lines, current] if current else lines
