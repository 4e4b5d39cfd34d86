"""A company's logo: a small picture in a data URI, looked at before it is ever drawn."""

from __future__ import annotations

import base64
import binascii
import io
import re

from PIL import Image

from app.limits import LOGO_MAX_BYTES, LOGO_MAX_PIXELS

_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG"}
_DATA_URI = re.compile(r"data:(image/png|image/jpeg);base64,([A-Za-z0-9+/]+={0,2})")


class InvalidLogo(ValueError):
    """No logo that can be drawn. The message says the rule, ready to follow a field name."""


def logo_bytes(uri: str) -> bytes:
    """The picture's bytes. Raises ``InvalidLogo`` unless it is a PNG or JPEG within the limits that opens whole."""
    match = _DATA_URI.fullmatch(uri)
    if match is None:
        raise InvalidLogo("must be a data URI that begins with data:image/png;base64, or data:image/jpeg;base64,")
    try:
        content = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        raise InvalidLogo("must hold base64 text") from None
    if len(content) > LOGO_MAX_BYTES:
        raise InvalidLogo(f"must be a picture of at most {LOGO_MAX_BYTES} bytes")
    _check_picture(content, _FORMATS[match[1]])
    return content


def _check_picture(content: bytes, form: str) -> None:
    try:
        # The size stands in the header: a picture that unpacks to gigabytes is refused before it is unpacked.
        with Image.open(io.BytesIO(content), formats=[form]) as picture:
            if max(picture.size) > LOGO_MAX_PIXELS:
                raise InvalidLogo(f"must be at most {LOGO_MAX_PIXELS} pixels wide and high")
            picture.load()
    except InvalidLogo:
        raise
    except Exception:
        # The library raises whatever the bytes lead it to: OSError, ValueError, SyntaxError, struct.error …
        raise InvalidLogo(f"must be a {form} picture that can be opened") from None
