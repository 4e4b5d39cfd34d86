"""Drawing an invoice as a PDF: the same page gives the same bytes, whenever and wherever it is drawn.

Lengths are millimetres on A4, font sizes points. Opening the library takes a second, so it is imported by who draws.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from app.documents.logo import logo_bytes
from app.documents.page import Page, Party, Row, Sum
from app.documents.typeface import BOLD, FOLDER, REGULAR, legible, needs_shaping, substitutes_for

# It tells of every table of a font that it leaves out.
logging.getLogger("fontTools.subset").setLevel(logging.WARNING)

WIDTH, HEIGHT, MARGIN = 210, 297, 18
INNER = WIDTH - 2 * MARGIN
BOTTOM = HEIGHT - 26
"""Where the lines end; the foot of the page stands below."""

LOGO_WIDTH, LOGO_HEIGHT = 60, 20
GAP = 4
QUANTITY, UNIT_PRICE, AMOUNT = 30, 28, 32
DESCRIPTION = INNER - QUANTITY - UNIT_PRICE - AMOUNT
SUMS = 80
"""Width of the sums at the end."""

SMALLEST = 5.5
"""The smallest size in which a number can be read on paper."""

SPACING = 0.46
"""Height of a line of text for each point of its size."""

FAMILY = "sans"
PAGES_ALIAS = "\ue000" * 4
"""Stands for the number of pages until it is known; legible text never holds it."""

INK, GREY, FAINT, RED, GREEN = (25, 28, 33), (105, 110, 118), (215, 218, 222), (190, 45, 45), (30, 125, 75)

PARTY_LINES_MAX = 24
"""Lines of a name and address: whatever somebody wrote there, the invoice itself begins on the first page."""

NOTHING = "There was nothing to charge in this period."

Align = Literal["L", "R", "C"]

_WIDE = "\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
"""Chinese, Japanese and Korean, which may be parted at any character; other text between its words."""

_PIECE = re.compile(f"[{_WIDE}]|[^\\s{_WIDE}]+|\\s+")


class Style(NamedTuple):
    """How a text looks."""

    size: float
    colour: tuple[int, int, int] = INK
    bold: bool = False

    @property
    def height(self) -> float:
        """The height of a line of it."""
        return self.size * SPACING


PLAIN, NOTE, LABEL = Style(9), Style(7.5, GREY), Style(8, GREY)
STRONG, NAME, TITLE = Style(9, bold=True), Style(11, bold=True), Style(20, bold=True)


def draw(page: Page) -> bytes:
    """The PDF of an invoice."""
    return _Sheet(page).draw()


class _Sheet:
    """One document while it is drawn. ``y`` of the library is where the next thing goes."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pdf = FPDF(format="A4")
        self.pdf.set_margin(MARGIN)
        self.pdf.set_auto_page_break(False)
        self.pdf.c_margin = 0
        self.pdf.alias_nb_pages(PAGES_ALIAS)
        self.pdf.set_creation_date(page.issued_at)
        self.pdf.set_title(f"{page.title} {legible(page.number)}")
        self.pdf.set_author(legible(page.seller.name))
        self.pdf.set_lang("en")
        self._open_fonts()

    def draw(self) -> bytes:
        """Everything from the head of the first page to the foot of the last."""
        self._new_page()
        self._head()
        self._table_head()
        for row in self.page.rows:
            self._row(row)
        if not self.page.rows:
            self.pdf.set_y(self._block(MARGIN, self.pdf.get_y(), INNER, NOTHING, NOTE) + 2)
        self._sums()
        self._remarks()
        return bytes(self.pdf.output())

    def _open_fonts(self) -> None:
        self.pdf.add_font(FAMILY, "", FOLDER / REGULAR)
        self.pdf.add_font(FAMILY, "B", FOLDER / BOLD)
        substitutes = substitutes_for(legible(" ".join(_texts(self.page))))
        for file in substitutes:
            self.pdf.add_font(file, "", FOLDER / file)
        self.pdf.set_fallback_fonts(substitutes, exact_match=False)

    def _use(self, style: Style, text: str) -> None:
        self.pdf.set_font(FAMILY, "B" if style.bold else "", style.size)
        # After a text that begins in a substitute the library believes the font to be set, which ended with that text.
        self.pdf.current_font_is_set_on_page = False
        self.pdf.set_text_color(*style.colour)
        self.pdf.set_text_shaping(needs_shaping(text))

    def _write(self, x: float, y: float, width: float, text: str, style: Style, align: Align = "L") -> None:
        """One line of text. It has been made legible and fits, or is broken by ``_broken``."""
        self._use(style, text)
        self.pdf.set_xy(x, y)
        self.pdf.cell(width, style.height, text, align=align, new_x=XPos.LEFT, new_y=YPos.TOP)

    def _broken(self, text: str, width: float, style: Style) -> list[str]:
        """The text in lines of at most the width, at least one."""
        clean = legible(text)
        self._use(style, clean)
        lines, line = list[str](), ""
        for piece in _PIECE.findall(clean):
            if self.pdf.get_string_width(line + piece.rstrip()) <= width:
                line += piece
                continue
            if line.strip():
                lines.append(line.rstrip())
            *full, line = self._cut(piece.lstrip(), width)
            lines += full
        return [*lines, line.rstrip()]

    def _cut(self, word: str, width: float) -> list[str]:
        """A word that is alone in its line, cut where the line ends."""
        parts, part = list[str](), ""
        for char in word:
            if part and self.pdf.get_string_width(part + char) > width:
                parts.append(part)
                part = ""
            part += char
        return [*parts, part]

    def _number(self, text: str, width: float, style: Style) -> tuple[list[str], Style]:
        """A number in one line, smaller if it has to be; only one of dozens of digits is broken."""
        self._use(style, text)
        needed = self.pdf.get_string_width(text)
        if needed > width:
            style = style._replace(size=max(SMALLEST, style.size * width / needed - 0.05))
        return self._broken(text, width, style), style

    def _block(self, x: float, y: float, width: float, text: str, style: Style, align: Align = "L") -> float:
        """A text over as many lines as it needs; where the next one goes."""
        for line in self._broken(text, width, style):
            self._write(x, y, width, line, style, align)
            y += style.height
        return y

    def _rule(self, y: float, colour: tuple[int, int, int] = FAINT, x: float = MARGIN) -> None:
        self.pdf.set_draw_color(*colour)
        self.pdf.set_line_width(0.2)
        self.pdf.line(x, y, WIDTH - MARGIN, y)

    def _new_page(self) -> None:
        self.pdf.add_page()
        self._foot()
        self.pdf.set_y(MARGIN)

    def _foot(self) -> None:
        page, y = self.page, BOTTOM + 10
        self._rule(y - 2)
        sender = legible(f"{page.seller.name} {page.number}")
        self._write(MARGIN, y, INNER, self._broken(sender, INNER / 2, NOTE)[0], NOTE)
        # What is longer than the number of digits that a page count has would shift nothing: the text begins left.
        count = f"Page {self.pdf.page_no()} of {PAGES_ALIAS}"
        self._write(WIDTH - MARGIN - 22, y, 22, count, NOTE)
        self._write(MARGIN, y + NOTE.height, INNER, page.proof, NOTE)

    def _head(self) -> None:
        page, right = self.page, WIDTH - MARGIN - INNER / 2
        left = self._logo_or_name()
        below = self._block(right, MARGIN, INNER / 2, page.title, TITLE, "R")
        if page.stamp is not None:
            below = self._stamp(page.stamp, below + 2)
        self.pdf.set_y(max(left, below) + 2 * GAP)
        self._parties()

    def _logo_or_name(self) -> float:
        page = self.page
        if page.logo is not None:
            picture = io.BytesIO(logo_bytes(page.logo))
            drawn = self.pdf.image(
                picture, MARGIN, MARGIN, LOGO_WIDTH, LOGO_HEIGHT, keep_aspect_ratio=True, alt_text="Logo"
            )
            return MARGIN + drawn.rendered_height
        return self._block(MARGIN, MARGIN + 1.5, INNER / 2 - GAP, page.seller.name, NAME)

    def _stamp(self, text: str, y: float) -> float:
        colour = GREEN if text == "PAID" else RED
        style = Style(12, colour, bold=True)
        self._use(style, text)
        width, height = self.pdf.get_string_width(text) + 8, 8
        self.pdf.set_draw_color(*colour)
        self.pdf.set_line_width(0.6)
        self.pdf.rect(WIDTH - MARGIN - width, y, width, height)
        self._write(WIDTH - MARGIN - width, y + (height - style.height) / 2, width, text, style, "C")
        return y + height

    def _parties(self) -> None:
        top, width = self.pdf.get_y(), (INNER - 2 * GAP) / 3
        ends = [
            self._party(MARGIN + index * (width + GAP), top, width, label, party)
            for index, (label, party) in enumerate((("From", self.page.seller), ("Bill to", self.page.buyer)))
        ]
        x, y = MARGIN + 2 * (width + GAP), top
        for label, text in self.page.facts:
            self._write(x, y, width, label, LABEL)
            y = self._block(x, y + LABEL.height, width, text, PLAIN) + 1.2
        self.pdf.set_y(max(*ends, y) + 2 * GAP)

    def _party(self, x: float, y: float, width: float, label: str, party: Party) -> float:
        lines = [(line, STRONG) for line in self._broken(party.name, width, STRONG) if line]
        lines += [(line, PLAIN) for text in party.details for line in self._broken(text, width, PLAIN)]
        if lines:
            self._write(x, y, width, label, LABEL)
            y += LABEL.height
        for line, style in lines[:PARTY_LINES_MAX]:
            self._write(x, y, width, line, style)
            y += style.height
        return y

    def _table_head(self) -> None:
        y = self.pdf.get_y()
        titles = ("Description", "Quantity", "Unit price", f"Amount {self.page.currency}")
        for (x, width, align), title in zip(_COLUMNS, titles, strict=True):
            self._write(x, y, width, title, LABEL, align)
        self._rule(y + LABEL.height + 1, INK)
        self.pdf.set_y(y + LABEL.height + 2.2)

    def _row(self, row: Row) -> None:
        description = [(line, PLAIN) for line in self._broken(row.description, _COLUMNS[0].width, PLAIN)]
        description += [(line, NOTE) for note in row.notes for line in self._broken(note, _COLUMNS[0].width, NOTE)]
        numbers = [
            (column, *self._number(text, column.width, PLAIN))
            for column, text in zip(_COLUMNS[1:], (row.quantity, row.unit_price, row.amount), strict=True)
        ]
        beside = max(len(lines) * style.height for _, lines, style in numbers)
        # A row stays together unless it has so many notes that it would leave most of a page empty.
        self._room_for(min(max(sum(style.height for _, style in description), beside), BOTTOM / 3))
        y = top = self.pdf.get_y()
        for column, lines, style in numbers:
            for index, line in enumerate(lines):
                self._write(column.x, top + index * style.height, column.width, line, style, column.align)
        for line, style in description:
            if y + style.height > BOTTOM:
                self._continue()
                y = top = self.pdf.get_y()
                beside = 0
            self._write(MARGIN, y, _COLUMNS[0].width, line, style)
            y += style.height
        end = max(y, top + beside) + 1.2
        self._rule(end)
        self.pdf.set_y(end + 1.2)

    def _room_for(self, height: float) -> None:
        if self.pdf.get_y() + height > BOTTOM:
            self._continue()

    def _continue(self) -> None:
        """The next page of the lines, with their head."""
        self._new_page()
        stamp = f", {self.page.stamp.lower()}" if self.page.stamp else ""
        title = f"{self.page.title} {self.page.number}{stamp}, continued"
        end = self._block(MARGIN, MARGIN, INNER, title, STRONG)
        self.pdf.set_y(end + GAP)
        self._table_head()

    def _sums(self) -> None:
        x, width = WIDTH - MARGIN - SUMS, SUMS - AMOUNT - GAP
        entries = [(entry, self._broken(entry.label, width, _style(entry))) for entry in self.page.sums]
        if self.pdf.get_y() + sum(len(label) * _style(entry).height + 2 for entry, label in entries) > BOTTOM:
            self._continue()
        y = self.pdf.get_y() + 1
        for entry, label in entries:
            style = _style(entry)
            if entry.strong:
                self._rule(y, INK, x)
                y += 1
            for index, text in enumerate(label):
                self._write(x, y + index * style.height, width, text, style)
            amount, smaller = self._number(entry.amount, SUMS - width, style)
            for index, text in enumerate(amount):
                self._write(x + width, y + index * smaller.height, SUMS - width, text, smaller, "R")
            y += max(len(label), len(amount)) * style.height + 1
        self.pdf.set_y(y + GAP)

    def _remarks(self) -> None:
        for text in self.page.remarks:
            lines = self._broken(text, INNER, PLAIN)
            if self.pdf.get_y() + len(lines) * PLAIN.height > BOTTOM:
                self._new_page()
            self.pdf.set_y(self._block(MARGIN, self.pdf.get_y(), INNER, text, PLAIN) + 1)


class _Column(NamedTuple):
    x: float
    width: float
    align: Align


def _columns() -> Iterator[_Column]:
    yield _Column(MARGIN, DESCRIPTION - GAP, "L")
    x = MARGIN + DESCRIPTION
    for width in (QUANTITY, UNIT_PRICE, AMOUNT):
        yield _Column(x + GAP / 2, width - GAP / 2, "R")
        x += width


_COLUMNS = tuple(_columns())


def _style(entry: Sum) -> Style:
    return NAME if entry.strong else PLAIN


def _texts(page: Page) -> Sequence[str]:
    """Every text that somebody else wrote."""
    rows = [text for row in page.rows for text in (row.description, *row.notes)]
    parties = [text for party in (page.seller, page.buyer) for text in (party.name, *party.details)]
    return [page.number, *rows, *parties, *(text for _, text in page.facts), *(entry.label for entry in page.sums)]
