"""Drawn pages, read back as a reader would."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import pypdfium2
import pytest

from app.documents.page import Buyer
from app.documents.pdf import BOTTOM, HEIGHT, MARGIN, WIDTH, draw
from domain.invoice import DocumentType
from domain.tier import TierUse
from tests.app.documents.sheets import BUYER, COMPANY, line, logo, page, texts

POINTS = 72 / 25.4
"""Points in a millimetre."""


def ink(pdf: bytes, left: float, top: float, right: float, bottom: float, number: int = 0) -> bool:
    """Whether anything is drawn in this part of a page; millimetres from its upper left corner."""
    opened = pypdfium2.PdfDocument(pdf)
    try:
        picture = opened[number].render(scale=1 / POINTS * 4).to_pil().convert("L")
    finally:
        opened.close()
    low, _ = picture.crop((int(left * 4), int(top * 4), int(right * 4), int(bottom * 4))).getextrema()
    return low < 250


def test_everything_on_the_page_is_in_the_file() -> None:
    (text,) = texts(draw(page(line(amount=123456), status="paid")))
    for part in (
        "Invoice",
        "PAID",
        "Example Metering GmbH",
        "Tax id: DE123456789",
        "Ada Lovelace Ltd",
        "SW1Y 4JH London",
        "INV-000042",
        "2026-03-01 to 2026-03-31",
        "API: Calls, 0.005 USD per call",
        "Used 7 = 2 free, 5 to pay",
        "Amount USD",
        "Subtotal 1,234.56",
        "Total USD 1,234.56",
        "Page 1 of 1",
        "Log position 12345, digest ab12cd34ab12cd34",
    ):
        assert part in text, text


@pytest.mark.parametrize("count", [0, 1, 40, 400])
def test_every_line_is_printed_once_under_a_head_on_every_page(count: int) -> None:
    pages = texts(draw(page(*(line(description=f"Item {number} of a list") for number in range(count)))))
    whole = " ".join(pages)
    assert [whole.count(f"Item {number} of a list") for number in range(count)] == [1] * count
    for number, text in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)} " in text
        assert text.count("Description Quantity Unit price Amount USD") == 1
        assert ("Invoice INV-000042, continued" in text) == (number > 1)
    assert (len(pages) > 1) == (count > 20)
    assert "Total USD" in pages[-1]
    assert ("nothing to charge" in whole) == (count == 0)


@pytest.mark.parametrize("count", range(10, 16))
def test_the_sums_and_a_row_are_never_torn_apart(count: int) -> None:
    """Whatever is left on the page below the last row."""
    drawn = draw(page(*(line(description="word " * 20) for _ in range(count))))
    pages = texts(drawn)
    assert sum(text.count("Used 7 = 2 free, 5 to pay") for text in pages) == count
    assert "Subtotal" in pages[-1]
    assert "Total USD" in pages[-1]
    for number in range(len(pages)):
        assert not ink(drawn, 0, BOTTOM + 1, WIDTH, BOTTOM + 7, number)
        assert not ink(drawn, 0, HEIGHT - 8, WIDTH, HEIGHT, number)


LONG = [
    {"description": "X" * 700},
    {"description": "word " * 140},
    {"description": "\u6f22" * 500},
    {"paid_units": "9" * 20 + "." + "3" * 30, "amount": 10**15, "price_per_unit": "99999.999999999999"},
    {"tiers": tuple(TierUse(up_to="1", units="1", price_per_unit="1", fixed_price=0, amount="1") for _ in range(50))},
]


@pytest.mark.parametrize("changes", LONG)
def test_whatever_is_long_stays_inside_the_margins(changes: Any) -> None:
    drawn = draw(page(line(), line(**changes), line()))
    for number in range(len(texts(drawn))):
        assert not ink(drawn, 0, 0, MARGIN - 0.5, HEIGHT, number)
        assert not ink(drawn, WIDTH - MARGIN + 0.5, 0, WIDTH, HEIGHT, number)
        assert not ink(drawn, 0, BOTTOM + 1, WIDTH, BOTTOM + 7, number)


def test_a_long_text_loses_nothing() -> None:
    words = [f"word{number}" for number in range(120)]
    whole = " ".join(texts(draw(page(line(description=" ".join(words))))))
    assert all(word in whole for word in words)
    tiers = tuple(
        TierUse(up_to=str(10**6 + number), units="1", price_per_unit="1", fixed_price=0, amount="1")
        for number in range(150)
    )
    whole = " ".join(texts(draw(page(line(tiers=tiers)))))
    assert whole.count("Up to 1,000,") == 150


@pytest.mark.parametrize("details", [("N" * 255,) * 4, ("\u6f22" * 255,) * 4])
def test_endless_names_leave_room_for_the_invoice(details: Sequence[str]) -> None:
    company = {"name": details[0], "address": "\n".join("a" * 60 for _ in range(8)), "email": details[1]}
    buyer = Buyer("c" * 256, "UTC", {"name": details[2]}, {"street": "s" * 100_000, "country": "US"})
    first, *_ = texts(draw(page(line(description="The one line"), company=company, buyer=buyer, customer_id="c" * 256)))
    assert "The one line" in first


@pytest.mark.parametrize(
    "text",
    ["\u6f22\u5b57", "\ud55c\uae00", "\u0e44\u0e17\u0e22", "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac", "Жук"],
)
def test_other_scripts_can_be_read_and_do_not_disturb_what_follows(text: str) -> None:
    """The library once left the font of such a text in force, and what came after it was not to be seen."""
    company = {**COMPANY, "name": text}
    (read,) = texts(draw(page(line(description=f"{text} calls"), company=company)))
    assert read.count(text) == 4
    for part in ("10117 Berlin", "Page 1 of 1", "Log position 12345", "Total USD 0.03"):
        assert part in read


def arabic(text: str) -> list[tuple[str, float, float]]:
    """The Arabic letters of a description as drawn: each with its left edge and its width in points."""
    opened = pypdfium2.PdfDocument(draw(page(line(description=text))))
    try:
        read = opened[0].get_textpage()
        letters = [(read.get_text_range(index, 1), read.get_charbox(index)) for index in range(read.count_chars())]
        return [(letter, box[0], box[2] - box[0]) for letter, box in letters if "\u0600" <= letter <= "\u06ff"]
    finally:
        opened.close()


def test_arabic_is_joined_and_runs_from_right_to_left() -> None:
    word = "\u0639\u0631\u0628\u064a"
    joined, parted = arabic(f"API: {word} 12"), arabic(" ".join(word))
    for letters in (joined, parted):
        assert "".join(letter for letter, _, _ in letters) == word
        assert [left for _, left, _ in letters] == sorted((left for _, left, _ in letters), reverse=True)
    # Between two others the third letter is only a tooth.
    assert joined[2][2] < parted[2][2] / 2


def test_marks_of_the_library_are_only_text() -> None:
    (read,) = texts(draw(page(line(description="{nb} **bold** __under__ [link](x) \ue000\ue000\ue000\ue000"))))
    assert "{nb} **bold** __under__ [link](x)" in read


def test_a_logo_takes_the_place_of_the_name() -> None:
    with_logo = draw(page(line(), company={**COMPANY, "logo": logo(300, 100)}))
    assert len(with_logo) > 10_000
    assert texts(with_logo)[0].count("Example Metering GmbH") == 2
    assert texts(draw(page(line())))[0].count("Example Metering GmbH") == 3
    assert ink(with_logo, MARGIN, MARGIN, MARGIN + 60, MARGIN + 20)


def test_a_tall_logo_stays_in_its_slot() -> None:
    drawn = draw(page(line(), company={"logo": logo(10, 2000)}))
    assert not ink(drawn, MARGIN, MARGIN + 20.5, MARGIN + 60, MARGIN + 24)


def test_without_a_company_nothing_is_said_about_it() -> None:
    (read,) = texts(draw(page(line(), company={})))
    assert "From" not in read
    assert "Bill to" in read


def test_a_void_credit_note_says_both() -> None:
    lines = [line(amount=-5) for _ in range(40)]
    pages = texts(draw(page(*lines, status="void", type=DocumentType.credit_note, wallet_amount=-200, total_amount=0)))
    assert "Credit note VOID" in pages[0]
    assert all("Credit note INV-000042, void, continued" in text for text in pages[1:])
    assert "nothing is to be paid" in pages[-1]


def test_the_same_invoice_is_the_same_file_in_another_process_and_at_another_time() -> None:
    script = textwrap.dedent(
        """
        import hashlib, sys
        from app.documents.pdf import draw
        from tests.app.documents.sheets import COMPANY, line, logo, page
        lines = [line(), line(description="\u0e44\u0e17\u0e22 \u0639\u0631\u0628\u064a")]
        sys.stdout.write(hashlib.sha256(draw(page(*lines, company={**COMPANY, "logo": logo()}))).hexdigest())
        """
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ".", "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(digests) == 1


def test_the_buyer_is_on_it() -> None:
    assert str(BUYER.personal["name"]) in texts(draw(page(line())))[0]
