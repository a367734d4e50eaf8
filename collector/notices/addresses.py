"""Addresses as people write them: telephone numbers and e-mail."""

import re
from typing import Final

MAIL: Final = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_PHONE: Final = re.compile(r"^\+?[0-9]{5,15}$")


def tidy_phone(text: str) -> str:
    """A telephone number without what people write into it; empty where it is none."""
    digits = re.sub(r"[\s()-]", "", text)
    return digits if _PHONE.match(digits) else ""


def read_address(text: str) -> str:
    """A telephone number or an address of e-mail; raises ValueError."""
    if not (tidy_phone(text) or MAIL.match(text)):
        raise ValueError(f"expected a telephone number or a mail address, got {text!r:.80}")
    return text
