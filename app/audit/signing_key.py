"""The key that heads are signed with: a file that its owner alone can read."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from app import settings
from app.settings import SettingError

FILE_NAME = "audit-key.pem"
"""Its name in the directory of the data. No backup takes it: it is not part of the database."""

_OTHERS = 0o077
"""What accounts other than the owner's may do with a file."""


class SigningKeyError(SettingError):
    """The signing key cannot be used; the message says what to do."""


def key_path(flags: Namespace, environment: Mapping[str, str]) -> Path:
    """Where the key is, or would be made."""
    named: Path | None = settings.value(settings.SIGNING_KEY, flags, environment)
    data: Path = settings.value(settings.DATA, flags, environment)
    return named or data / FILE_NAME


def make_key(path: Path) -> Ed25519PrivateKey:
    """A new key in a new file. Raises ``SigningKeyError`` when there is a file: a key is never replaced by accident."""
    key = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SigningKeyError(f"the signing key cannot be written to {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key of a file. Raises ``SigningKeyError``, also when others than its owner may read it."""
    try:
        mode, text = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        raise SigningKeyError(f"there is no signing key at {path}; `taximeter audit key` makes one") from None
    except OSError as error:
        raise SigningKeyError(f"the signing key {path} cannot be read: {error.strerror}") from None
    if mode & _OTHERS:
        raise SigningKeyError(f"the signing key {path} is open to others than its owner; say `chmod 600 {path}`")
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(f"{path} holds no Ed25519 private key in PEM without a password")
    return key


def public_text(key: Ed25519PrivateKey) -> str:
    """The public key in hexadecimal, as heads name it."""
    return key.public_key().public_bytes_raw().hex()
