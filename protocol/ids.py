"""Identifiers: slugs that people choose, and UUIDs that order by creation."""

import re
import uuid
from typing import Annotated

from pydantic import StringConstraints

SLUG_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
Slug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
"""Id of a site, box, camera, zone or shop: lower-case letters, digits and hyphens, at most 63."""


def is_slug(text: str) -> bool:
    """Whether a text could be such an id."""
    return re.fullmatch(SLUG_PATTERN, text) is not None


SHA256_PATTERN = r"^[0-9a-f]{64}$"
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]


def uuid7(time_s: float, randomness: bytes) -> str:
    """Make a version 7 UUID (RFC 9562, 5.7) from a time and ten random bytes.

    The embedded time only makes ids sort well in an index. Never read it back: a box may have had a wrong clock.

    Args:
        time_s: seconds since the epoch.
        randomness: exactly 10 bytes.
    """
    if len(randomness) != 10:
        raise ValueError(f"expected 10 random bytes, got {len(randomness)}")
    number = (int(time_s * 1000) & (2**48 - 1)) << 80 | int.from_bytes(randomness)
    number = number & ~(0xF << 76) | 7 << 76  # version
    number = number & ~(0x3 << 62) | 2 << 62  # variant
    return str(uuid.UUID(int=number))
