"""The fonts that come along, and text made fit for them.

One family draws Latin, Greek, Cyrillic, Hebrew, Arabic, Armenian and Georgian; the others stand in for a character that
it lacks: Chinese and Japanese, Korean, Thai, Devanagari. A character that none of them has is shown as ``�``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

from fontTools.ttLib import TTFont

FOLDER = Path(__file__).parent / "fonts"
REGULAR = "DejaVuSansCondensed.ttf"
BOLD = "DejaVuSansCondensed-Bold.ttf"
SUBSTITUTES = (
    "DroidSansFallbackFull.ttf",
    "NanumGothicCoding.ttf",
    "NotoSansThai-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
)
UNKNOWN = "\ufffd"

DROPPED = {"Cc", "Cf", "Co", "Cs", "Cn"}
"""Kinds of characters that draw nothing of their own. Those that turn the direction of text could show an amount
backwards."""

JOINERS = "\u200c\u200d"
"""What decides how the letters beside it join; the only ones of their kind that stay."""

_SHAPED = re.compile("[\u0300-\u036f\u0590-\u109f\u1780-\u17ff\ufb1d-\ufdff\ufe70-\ufefc]")
"""Scripts that run from right to left, whose letters join, or whose marks are placed on others."""


def legible(text: str) -> str:
    """The text in one line of characters that can be drawn, white space made single."""
    composed = " ".join(unicodedata.normalize("NFC", text).split())
    kept = (char for char in composed if char in JOINERS or unicodedata.category(char) not in DROPPED)
    return "".join(char if font_of(char) is not None else UNKNOWN for char in kept)


@cache
def font_of(char: str) -> str | None:
    """The file of the first font that has the character."""
    if all(ord(char) in _coverage(file) for file in (REGULAR, BOLD)):
        return REGULAR
    return next((file for file in SUBSTITUTES if ord(char) in _coverage(file)), None)


def substitutes_for(texts: str) -> list[str]:
    """The fonts that a text needs besides the one family: large files, so only what is needed is opened."""
    needed = {font_of(char) for char in set(texts)}
    return [file for file in SUBSTITUTES if file in needed]


def needs_shaping(text: str) -> bool:
    """Whether letters change with their neighbours or run from right to left; it costs time, so not for all."""
    return _SHAPED.search(text) is not None


@cache
def _coverage(file: str) -> frozenset[int]:
    with TTFont(FOLDER / file, lazy=True) as font:
        characters = font.getBestCmap()
    assert characters is not None, f"{file} maps no character"
    return frozenset(characters)
