"""Detectors that a center rolls out: what is signed, what a box is told (`model/desired`), and what it says.

The file goes over HTTPS, in parts. What it is, which boards and detectors it is for and how much it may differ stands
in a manifest, signed (Ed25519) by a key that the center's CA has certified for this and nothing else.
"""

import base64
from fnmatch import fnmatchcase
from typing import Annotated, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import Field, StringConstraints

from protocol.commands import Arguments, PlainText
from protocol.ids import Sha256
from protocol.messages import Event, Model, Share, Value

SIGNER: Final = "cityeye-detectors"
"""CN of the key; no box may have a name that begins so."""
PART_BYTES: Final = 1 << 20
"""Of one request, at most: the listener gives each ten seconds, and a box goes on behind what came in them."""
PATH: Final = "/detectors/"
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Limits(Arguments):
    """How much a detector may differ from the one in use, both on the same live pictures.

    Args:
        recall: share of the present one's sure finds that it has.
        precision: share of its sure finds that the present one has.
        slower: times the present one's time.
        memory_mb: that it takes beside the present one.
        pictures: that are compared at least.
        finds: of the present one in them, at least.
    """

    recall: Share = 0.7
    precision: Share = 0.7
    slower: float = Field(default=1.5, gt=0, le=100)
    memory_mb: float = Field(default=64, ge=0, le=4096)
    pictures: int = Field(default=120, ge=1, le=10_000)
    finds: int = Field(default=100, ge=1, le=100_000)


class Manifest(Value):
    """What is signed; of patterns (* and ?) one has to fit."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    size: int = Field(gt=0, le=128 << 20)
    sha256: Sha256
    boards: tuple[Pattern, ...] = Field(description="processors or boards that it is for")
    replaces: tuple[Pattern, ...] = Field(description="detectors that it may take the place of")
    limits: Limits = Limits()

    def fault(self, board: tuple[str, ...], present: str) -> str | None:
        """Say why it is not for a box with these names of its board and this detector; None: it is."""
        for names, patterns in ((board, self.boards), ((present,), (self.name, *self.replaces))):
            if not any(fnmatchcase(name, pattern) for pattern in patterns for name in names):
                return f"it is for {', '.join(patterns)}, this box has {', '.join(names)}"
        return None


class Signed(Value):
    """A manifest as it travels: JSON, byte for byte as it was signed, in base64; the key's certificate in PEM."""

    manifest: str = Field(max_length=8192)
    signature: str = Field(max_length=128)
    certificate: str = Field(max_length=8192)


def verified(signed: Signed, ca: str) -> Manifest:
    """Read a manifest that the center with this CA (PEM) has signed; raises ValueError."""
    try:
        certificate = x509.load_pem_x509_certificate(signed.certificate.encode())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.encode()))
        names = [one.value for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        key = certificate.public_key()
        good = names == [SIGNER] and ExtendedKeyUsageOID.CODE_SIGNING in purposes
        if not good or not isinstance(key, Ed25519PublicKey):
            raise ValueError("expected the key that the center signs detectors with, it is another one's")
        key.verify(base64.b64decode(signed.signature), signed.manifest.encode())
    except (InvalidSignature, TypeError, x509.ExtensionNotFound):
        raise ValueError("expected the center's signature, it does not match: changed, or from elsewhere") from None
    return Manifest.model_validate_json(signed.manifest)


class ModelDesired(Value):
    """What the center wants of a box's detector; without a manifest: go on with what is in use."""

    rollout: int = Field(ge=1, le=2**53)
    signed: Signed | None = None


class ModelDesiredEvent(Event[ModelDesired]):
    """`cityeye.model.desired`."""


class ModelReported(Value):
    """What a box says: the detector in use, and what became of a roll-out.

    States are own, fetching, shadow, trial, and when it is settled taken, refused, undecided, rolled_back, kept.
    """

    model: Model | None = None
    rollout: int | None = Field(default=None, ge=1, le=2**53)
    state: str = Field(pattern=r"^[a-z_]{1,32}$")
    text: PlainText = ""


class ModelReportedEvent(Event[ModelReported]):
    """`cityeye.model.reported`."""
