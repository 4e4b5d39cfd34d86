"""Personal fields as they were sealed before keys could be destroyed: their text does not name its key."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.sealing import SealingKey


def in_the_first_form(key: SealingKey) -> str:
    """Ada's e-mail, sealed with her key."""
    assert key.secret is not None
    sealed = AESGCM(key.secret).encrypt(bytes(12), b'{"email":"ada@example.com"}', b"ada")
    return base64.b64encode(b"\x01" + bytes(12) + sealed).decode()
