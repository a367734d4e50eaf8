"""The second factor: time-based one-time passwords, RFC 6238 over RFC 4226."""

import base64
import hashlib
import hmac
import secrets
import struct
import unicodedata
from typing import Final
from urllib.parse import quote, urlencode

STEP_S: Final = 30
DIGITS: Final = 6
AROUND: Final = 1
"""Steps before and after now that are good as well, for clocks that are off (RFC 6238, section 5.2)."""
SECRET_BYTES: Final = 20
"""160 bits, what RFC 4226, section 4 recommends; SHA-1 because authenticator apps know nothing else for certain."""


def new_secret() -> str:
    """A secret in base 32."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def code(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """The code of one step (RFC 4226, section 5.3)."""
    mac = hmac.digest(secret, struct.pack(">Q", step), hashlib.sha1)
    (number,) = struct.unpack_from(">I", mac, mac[-1] & 0xF)
    return str((number & 0x7FFF_FFFF) % 10**digits).zfill(digits)


def step_at(now_ms: int) -> int:
    """The step that an instant is in."""
    return now_ms // 1000 // STEP_S


def matching_step(secret: str, typed: str, now_ms: int) -> int | None:
    """The step that a code is of, if it is near now; the newest, where two have the same."""
    # full-width digits too, as a Chinese keyboard may give them
    digits = "".join(unicodedata.normalize("NFKC", typed).split())
    if not digits.isascii():
        return None
    key = base64.b32decode(secret)
    found = None
    for step in range(step_at(now_ms) - AROUND, step_at(now_ms) + AROUND + 1):
        # all of them, so that it takes as long whichever it is
        if hmac.compare_digest(code(key, step), digits):
            found = step
    return found


def link(secret: str, issuer: str, person: str) -> str:
    """What the QR code says: `otpauth://`, as authenticator apps read it."""
    label = f"{quote(issuer, safe='')}:{quote(person, safe='')}"
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer}, quote_via=quote)}"
