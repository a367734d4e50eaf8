"""Taking secrets out of text that is to leave the box."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "***"
_WORDS: Final = "password|passwd|passphrase|pwd|pass|secret|token|credentials?|api_?key|auth|authorization|pin"
_PATTERNS: Final = (
    # user and password of a URL, up to the last @ before the path: a password may hold one
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#\"'<>]*@"), rf"\1{HIDDEN}@"),
    # what follows ? in an address: cameras take passwords there
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?\"'<>]*)\?[^\s\"'<>]*"), rf"\1?{HIDDEN}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+[^\s,;]+"), rf"\1 {HIDDEN}"),
    (
        re.compile(
            rf"(?i)((?:\b|[\w-])(?:{_WORDS})[\"']?\s*(?:=>|[=:])\s*)(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&}}\])]+)"
        ),
        rf"\1{HIDDEN}",
    ),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Hide what looks like a secret, and each known one however it is written.

    Args:
        text: any.
        secrets: known ones.
    """
    for secret in sorted({form for one in secrets if one for form in _forms(one)}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern, hidden in _PATTERNS:
        text = pattern.sub(hidden, text)
    return text


def _forms(secret: str) -> set[str]:
    """A secret as it is, in a URL, and as Python and JSON write it."""
    escaped = secret.replace("\\", "\\\\")
    return {secret, quote(secret), quote(secret, safe=""), escaped, escaped.replace('"', '\\"'), repr(secret)[1:-1]}
