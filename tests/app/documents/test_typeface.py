"""Text made fit for the fonts that come along."""

from __future__ import annotations

import pytest

from app.documents.typeface import FOLDER, SUBSTITUTES, font_of, legible, needs_shaping, substitutes_for


@pytest.mark.parametrize(
    "text",
    ["Zażółć gęślą jaźń", "Ελληνικά", "Українська", "עברית", "العربية", "Հայերեն", "ქართული", "Tiếng Việt", "€ ₹ ₩ ₫"],
)
def test_these_scripts_need_one_font_only(text: str) -> None:
    assert legible(text) == text
    assert substitutes_for(text) == []


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("漢字 汉字 かな カナ、。", "DroidSansFallbackFull.ttf"),
        ("한글", "NanumGothicCoding.ttf"),
        ("ภาษาไทย", "NotoSansThai-Regular.ttf"),
        ("हिन्दी", "NotoSansDevanagari-Regular.ttf"),
    ],
)
def test_other_scripts_have_a_substitute(text: str, file: str) -> None:
    assert legible(text) == text
    assert substitutes_for(text) == [file]


def test_what_no_font_has_is_seen_to_be_missing() -> None:
    assert font_of("\U00012000") is None
    # Only the lighter of the two has these letters, and any text may be set in bold.
    assert font_of("\U0001d5a0") is None
    assert legible("a\U00012000b") == "a\ufffdb"


@pytest.mark.parametrize("unseen", ["\u202e", "\u2066", "\u200b", "\x07", "\ue000", "\ufeff", "\x00", "\ud800"])
def test_what_cannot_be_seen_or_turns_the_text_is_dropped(unseen: str) -> None:
    assert legible(f"1{unseen}23") == "123"


def test_white_space_is_single_and_letters_are_composed() -> None:
    assert legible("  a \n\t b\u00a0c ") == "a b c"
    assert legible("e\u0301") == "\u00e9"


@pytest.mark.parametrize("text", ["العربية", "עברית", "हिन्दी", "ไทย", "x\u0301"])
def test_scripts_that_join_or_run_backwards_are_shaped(text: str) -> None:
    assert needs_shaping(text)


@pytest.mark.parametrize("text", ["Example", "Ελληνικά", "漢字", "한글", "12.34"])
def test_others_are_not(text: str) -> None:
    assert not needs_shaping(text)


def test_every_font_comes_with_a_licence() -> None:
    licences = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("LICENSE-*.txt"))
    fonts = sorted(path.name for path in FOLDER.glob("*.ttf"))
    assert set(SUBSTITUTES) < set(fonts)
    assert all(name in licences for name in fonts)
