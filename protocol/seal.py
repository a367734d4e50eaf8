"""The evidence seal: a SHA-256 chain over all pictures of a box, each link signed with the box's Ed25519 key.

A link covers what the picture is (its own hash, size, instant), what it proves (incident, role, view), and the link
before it. So a changed byte, a swapped picture and a removed one all show, and only the box can have made the chain.
"""

import base64
import hashlib
import json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.messages import Evidence

_SEALED = ("role", "view", "sha256", "bytes", "media_type", "width", "height", "taken_at", "masked")


def picture_link(incident: str, evidence: Evidence) -> str:
    """Hash one picture's record together with the link before it; hexadecimal SHA-256.

    `dropped` and `signature` are left out: the one may change after sealing, the other is made over the link.
    """
    record = evidence.model_dump(mode="json", include={*_SEALED, "prev"})
    text = json.dumps({"incident": incident, **record}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def seal(incident: str, evidence: Evidence, prev: str | None, key: Ed25519PrivateKey) -> Evidence:
    """Put a picture's record behind the link `prev` and sign it."""
    linked = evidence.model_copy(update={"prev": prev})
    signature = key.sign(bytes.fromhex(picture_link(incident, linked)))
    return linked.model_copy(update={"signature": base64.b64encode(signature).decode()})


def seal_fault(incident: str, evidence: Evidence, public_key: str, picture: bytes | None = None) -> str | None:
    """Say what is wrong with a sealed picture, or None for a good one.

    Args:
        incident: the incident that it proves.
        evidence: its record.
        public_key: the box's key, base64 of 32 bytes.
        picture: the file, where it is at hand.
    """
    if picture is not None and hashlib.sha256(picture).hexdigest() != evidence.sha256:
        return "the picture's bytes do not match its SHA-256"
    if evidence.signature is None:
        return "it bears no signature"
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(evidence.signature, validate=True), bytes.fromhex(picture_link(incident, evidence)))
    except ValueError:
        return "the key or the signature is malformed"
    except InvalidSignature:
        return "the signature does not match: the record was changed, or another box made it"
    return None


def public_key_text(key: Ed25519PrivateKey) -> str:
    """Write the public half of a box's key as base64."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()
