"""A secret for one box alone: X25519, HKDF-SHA256 and ChaCha20-Poly1305.

Whoever seals makes a key pair for this one secret and throws it away. The box's id, the command's and the secret's name
are authenticated with it, so that it serves no other box, no other command and under no other name.
"""

import base64
import json
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES: Final = 32
_INFO: Final = b"cityeye secret 1"
_NONCE: Final = bytes(12)
"""Each key encrypts one secret only."""


class SealedError(ValueError):
    """A sealed secret that cannot be opened, or a key that is none; holds nothing of it."""


def seal_secret(secret: bytes, encryption_key: str, box: str, command: str, name: str) -> str:
    """Seal a secret to a box's key (base64); returns base64. Raises SealedError for a key that is none."""
    try:
        to = X25519PublicKey.from_public_bytes(base64.b64decode(encryption_key, validate=True))
        once = X25519PrivateKey.generate()
        shared = once.exchange(to)
    except ValueError:
        raise SealedError("盒子的公钥无效 / expected an X25519 key of 32 bytes in base64, got something else") from None
    once_public = once.public_key().public_bytes_raw()
    key = _derived(shared, once_public, to.public_bytes_raw())
    hidden = ChaCha20Poly1305(key).encrypt(_NONCE, secret, _about(box, command, name))
    return base64.b64encode(once_public + hidden).decode()


def open_secret(sealed: str, key: X25519PrivateKey, box: str, command: str, name: str) -> bytes:
    """Open what was sealed to a box's key; raises SealedError."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        once_public, hidden = raw[:_KEY_BYTES], raw[_KEY_BYTES:]
        shared = key.exchange(X25519PublicKey.from_public_bytes(once_public))
        derived = _derived(shared, once_public, key.public_key().public_bytes_raw())
        return ChaCha20Poly1305(derived).decrypt(_NONCE, hidden, _about(box, command, name))
    except (ValueError, InvalidTag):
        raise SealedError(
            "expected a secret sealed to this box, this command and this name; it does not open; "
            "ask again with the key that the box publishes now"
        ) from None


def _derived(shared: bytes, once: bytes, to: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=once + to, info=_INFO).derive(shared)


def _about(box: str, command: str, name: str) -> bytes:
    return json.dumps([box, command, name]).encode()
