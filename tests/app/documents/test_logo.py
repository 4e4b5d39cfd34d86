"""Logos: small pictures that open, and nothing else."""

from __future__ import annotations

import base64
import zlib

import pytest

from app.documents.logo import InvalidLogo, logo_bytes
from app.limits import LOGO_MAX_BYTES, LOGO_MAX_PIXELS
from tests.app.documents.sheets import logo


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_opens(form: str) -> None:
    assert logo_bytes(logo(form=form))


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("", "must be a data URI"),
        ("https://example.com/logo.png", "must be a data URI"),
        ("data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=", "must be a data URI"),
        ("data:image/png,abc", "must be a data URI"),
        ("data:image/png;base64,", "must be a data URI"),
        ("data:image/png;base64,a", "base64"),
        ("data:image/png;base64,aGVsbG8=", "PNG picture that can be opened"),
        (logo(form="JPEG").replace("image/jpeg", "image/png"), "PNG picture that can be opened"),
        (logo() + "\n", "must be a data URI"),
        (logo(LOGO_MAX_PIXELS + 1, 1), f"at most {LOGO_MAX_PIXELS} pixels"),
        ("data:image/png;base64," + base64.b64encode(bytes(LOGO_MAX_BYTES + 1)).decode(), "bytes"),
    ],
)
def test_anything_else_is_refused(uri: str, rule: str) -> None:
    with pytest.raises(InvalidLogo, match=rule):
        logo_bytes(uri)


def test_a_picture_that_breaks_off_is_refused() -> None:
    whole = base64.b64decode(logo(200, 200).partition(",")[2])
    with pytest.raises(InvalidLogo, match="opened"):
        logo_bytes("data:image/png;base64," + base64.b64encode(whole[: len(whole) // 2]).decode())


def test_a_picture_of_gigabytes_is_refused_by_its_header() -> None:
    header = (60_000).to_bytes(4) * 2 + b"\x08\x02\x00\x00\x00"
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    with pytest.raises(InvalidLogo):
        logo_bytes("data:image/png;base64," + base64.b64encode(content).decode())
