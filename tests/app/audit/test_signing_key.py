"""The file of the signing key: made once, read by its owner alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.audit.signing_key import SigningKeyError, load_key, make_key, public_text


def test_a_key_that_was_made_is_loaded_again(tmp_path: Path) -> None:
    made = make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert public_text(load_key(tmp_path / "key")) == public_text(made)


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    made = make_key(tmp_path / "key")
    with pytest.raises(SigningKeyError, match="File exists"):
        make_key(tmp_path / "key")
    assert public_text(load_key(tmp_path / "key")) == public_text(made)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(SigningKeyError, match="chmod 600"):
        load_key(tmp_path / "key")


def test_what_is_no_key_is_told(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(SigningKeyError, match="`taximeter audit key` makes one"):
        load_key(file)
    other = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in (b"", b"nothing", other):
        file.write_bytes(text)
        file.chmod(0o600)
        with pytest.raises(SigningKeyError, match="no Ed25519 private key"):
            load_key(file)
    with pytest.raises(SigningKeyError, match="cannot be written"):
        make_key(tmp_path / "nowhere" / "key")
