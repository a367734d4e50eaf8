"""How a box gets its certificate: the claim code on its label, what it asks, what it is answered.

A code is 17 symbols of Crockford's base 32 (85 random bits) and his check symbol (modulo 37), written in three groups
of six. Codes whose check symbol would be none of the 32 are not made, so that no `*~$=U` has to be typed.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from protocol.ids import Slug

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
DATA_SYMBOLS: Final = 17
GROUP: Final = 6
CHECK_MODULUS: Final = 37
MAX_BODY_BYTES: Final = 16 * 1024
MIN_FINGERPRINT_DIGITS: Final = 32
"""A fingerprint that is typed may be cut to these: 128 bits leave no second certificate to be found."""
_LOOKALIKES: Final = str.maketrans("OIL", "011")

Pem = Annotated[str, StringConstraints(max_length=8192, pattern=r"^-----BEGIN ")]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class EnrolRequest(_Body):
    """`POST /enrol`: a claim and a signing request (PKCS #10, P-256) whose subject does not count."""

    claim: str = Field(max_length=64)
    csr: Pem
    version: str = Field(default="", max_length=64)
    box: Slug | None = Field(default=None, description="which box the label is for, where the box knows it")


class RenewRequest(_Body):
    """`POST /renew`, over TLS with the certificate that is still valid."""

    csr: Pem
    version: str = Field(default="", max_length=64)


class Enrolled(_Body):
    """The answer to both."""

    certificate: Pem
    ca: Pem
    broker_url: str = Field(max_length=300)
    box: Slug
    site: Slug


class Denied(_Body):
    """The answer where there is no certificate; `code` is for programs, `text` for people."""

    code: str = Field(max_length=64)
    text: str = Field(max_length=500)


def make_claim(random_bits: Callable[[int], int] = secrets.randbits) -> str:
    """Make a claim code such as `7K3M9P-QW2E4R-T6Y8Z0`."""
    while True:
        number = random_bits(5 * DATA_SYMBOLS)
        if number % CHECK_MODULUS < len(ALPHABET):
            break
    symbols = "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(DATA_SYMBOLS)))
    return _grouped(symbols + ALPHABET[number % CHECK_MODULUS])


def read_claim(text: str) -> str:
    """Read a code as a person typed it; returns it as it was made. Raises ValueError with what is wrong.

    Case, spaces and hyphens do not count; O is read as 0, I and L as 1. The text may be a secret: it is not quoted.
    """
    symbols = re.sub(r"[\s-]", "", text).upper().translate(_LOOKALIKES)
    if len(symbols) != DATA_SYMBOLS + 1:
        raise ValueError(f"expected a claim code of {DATA_SYMBOLS + 1} letters and digits, got {len(symbols)}")
    number = 0
    for symbol in symbols[:-1]:
        number = number << 5 | _value(symbol)
    if number % CHECK_MODULUS != _value(symbols[-1]):
        raise ValueError("the claim code has a mistake in it: its last letter checks the others; read it again")
    return _grouped(symbols)


def plate_of(claim: str) -> tuple[str, str]:
    """Name and PIN of the set-up page of a box that is flashed with this code: they stand on the same label."""
    digest = hashlib.sha256(f"cityeye set-up {claim}".encode()).digest()
    return base64.b32encode(digest).decode()[:6].lower(), f"{int.from_bytes(digest[-8:]) % 10**8:08}"


def _value(symbol: str) -> int:
    value = ALPHABET.find(symbol)
    if value < 0:
        raise ValueError("expected letters and digits without U in a claim code; read it again")
    return value


def _grouped(symbols: str) -> str:
    return "-".join(symbols[start : start + GROUP] for start in range(0, len(symbols), GROUP))


def read_fingerprint(text: str) -> str:
    """Read `sha256:HEX` (the beginning of it will do), as printed; raises ValueError."""
    digits = re.sub(r"[\s:-]", "", text.lower().removeprefix("sha256:"))
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_FINGERPRINT_DIGITS},64}}", digits):
        raise ValueError(
            f"expected sha256: and {MIN_FINGERPRINT_DIGITS} to 64 hexadecimal digits, got {len(digits)} characters"
        )
    return digits


def matches(fingerprint: str, sha256: str) -> bool:
    """Whether a fingerprint that was read is that of a certificate with this SHA-256."""
    return hmac.compare_digest(sha256[: len(fingerprint)].encode(), fingerprint.encode())


@dataclass(frozen=True)
class Invitation:
    """What a label says.

    Args:
        url: `https://HOST:PORT` of the enrolment.
        claim: the code.
        fingerprint: of the center's CA, hexadecimal digits of its SHA-256.
        box: the id that the box will have.
    """

    url: str
    claim: str
    fingerprint: str
    box: Slug | None = None

    def __str__(self) -> str:
        """Write it as one link; what follows `#` is sent nowhere by a telephone that opens it."""
        parts = {"claim": self.claim, "ca": f"sha256:{self.fingerprint}"} | ({"box": self.box} if self.box else {})
        return f"{self.url}/#{urlencode(parts, safe=':')}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a link; raises ValueError."""
        parts = urlsplit(text.strip())
        fields = {name: values[0] for name, values in parse_qs(parts.fragment).items()}
        missing = {"claim", "ca"} - fields.keys()
        if missing:
            raise ValueError(f"expected the whole text of a label, https://HOST/#claim=…&ca=…; {missing} is missing")
        return cls(
            read_url(f"{parts.scheme}://{parts.netloc}"),
            read_claim(fields["claim"]),
            read_fingerprint(fields["ca"]),
            fields.get("box"),
        )


def read_url(text: str) -> str:
    """Read the address of an enrolment, without a slash at its end; raises ValueError."""
    parts = urlsplit(text.strip())
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError(f"expected https://HOST[:PORT], got {text!r}")
    _ = parts.port  # raises ValueError where it is none
    return f"https://{parts.netloc}"
