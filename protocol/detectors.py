"""Detectors that a center rolls out: what is signed, what a box is told (`model/desired`), and what it says.

The file goes over HTTPS, in parts. What it is, which boards and detectors it is for and how much it may differ stands
in a manifest, signed (Ed25519) by a key that the center's CA has certified for this and nothing else.
"""

import base64
from fnmatch import fnmatchcase
from typing import Annotated, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import Field, StringConstraints

from protocol.commands import PlainText
from protocol.enrolment import Pem
from protocol.ids import Sha256
from protocol.messages import Event, Model, Value

SIGNER: Final = "cityeye-detectors"
"""CN of the key; no box may have a name that begins so."""
MAX_DETECTOR_BYTES: Final = 128 << 20
PART_BYTES: Final = 256 << 10
"""Of one request: the listener gives each ten seconds, so that 26 KB a second will do."""
PATH: Final = "/detectors/"
Patterns = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...], Field(min_length=1, max_length=20)
]
"""Names, with * and ?; upper and lower case are the same."""


class Limits(Value):
    """How much a detector may differ from the one in use, both on the same live pictures."""

    recall: float = Field(default=0.7, ge=0, le=1, description="share of the present one's sure finds that it has")
    precision: float = Field(default=0.7, ge=0, le=1, description="share of its sure finds that the present one has")
    slower: float = Field(default=1.5, gt=0, le=100, description="times the present one's time")
    memory_mb: int = Field(default=64, ge=0, le=4096, description="that it takes beside the present one")
    pictures: int = Field(default=120, ge=1, le=10_000, description="that are compared at least")
    finds: int = Field(default=100, ge=1, le=100_000, description="of the present one in them, at least")


class Manifest(Value):
    """What is signed."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    size: int = Field(gt=0, le=MAX_DETECTOR_BYTES)
    sha256: Sha256
    boards: Patterns = Field(description="processors or boards that it is for")
    replaces: Patterns = Field(description="detectors that it may take the place of")
    limits: Limits = Limits()

    def fault(self, board: tuple[str, ...], present: str) -> str | None:
        """Say why it is not for a box with these names of its board and this detector; None: it is."""
        if not _fits(self.boards, board):
            return f"expected a box of {', '.join(self.boards)}, this is {', '.join(board)}"
        if not _fits((self.name, *self.replaces), (present,)):
            return f"expected a box with detector {', '.join(self.replaces)}, this one has {present}"
        return None


def _fits(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns for name in names)


class Signed(Value):
    """A manifest as it travels."""

    manifest: str = Field(max_length=8192, description="JSON, byte for byte as it was signed")
    signature: str = Field(max_length=128, description="Ed25519 over it, base64")
    certificate: Pem = Field(description="of the key, by the center's CA")


def sign(manifest: Manifest, key: Ed25519PrivateKey, certificate: str) -> Signed:
    """Sign a manifest."""
    text = manifest.model_dump_json()
    signature = base64.b64encode(key.sign(text.encode())).decode()
    return Signed(manifest=text, signature=signature, certificate=certificate)


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
        key.verify(base64.b64decode(signed.signature, validate=True), signed.manifest.encode())
    except (InvalidSignature, TypeError, x509.ExtensionNotFound):
        raise ValueError("expected the center's signature, it does not match: changed, or from elsewhere") from None
    return Manifest.model_validate_json(signed.manifest)


class ModelDesired(Value):
    """What the center wants of a box's detector."""

    rollout: int = Field(ge=1, le=2**53)
    signed: Signed | None = Field(default=None, description="null: it was stopped, go on with what is in use")


class ModelDesiredEvent(Event[ModelDesired]):
    """`cityeye.model.desired`."""


class Compared(Value):
    """What a shadow run has found."""

    pictures: int = 0
    finds: int = Field(default=0, description="sure ones of the present detector")
    recall: float = 0.0
    precision: float = 0.0
    ms: float = Field(default=0.0, description="of a look, the median")
    present_ms: float = 0.0
    memory_mb: float = 0.0


class ModelReported(Value):
    """What a box says of its detector."""

    model: Model | None = Field(default=None, description="in use")
    rollout: int | None = Field(default=None, ge=1, le=2**53, description="that the rest is about")
    state: str = Field(
        pattern=r"^[a-z_]{1,32}$",
        description="own, fetching, shadow, trial; settled: taken, refused, undecided, rolled_back, kept",
    )
    text: PlainText = Field(default="", description="why")
    compared: Compared | None = None


class ModelReportedEvent(Event[ModelReported]):
    """`cityeye.model.reported`."""
