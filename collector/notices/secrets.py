"""Secrets by name: `file:PATH` or `env:NAME`. Settings, logs, errors and the database never hold the value."""

import os
import threading
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

HIDDEN: Final = "***"
_SHORTEST: Final = 4
"""A shorter value is no secret, and taking it out would spoil texts."""


class SecretError(Exception):
    """A secret that cannot be had; one line that names it and never shows it."""


def _named(name: str) -> str:
    scheme, colon, rest = name.partition(":")
    if scheme not in ("file", "env") or not colon or not rest:
        # never with what came: it may be the secret itself
        raise ValueError("expected file:PATH or env:NAME, got something else; put the secret into a file of its own")
    return name


SecretName = Annotated[str, AfterValidator(_named)]
"""Where a secret lies."""


class Secrets:
    """Reads secrets when they are needed, so that a changed one counts at once, and takes them out of texts.

    Args:
        folder: that paths are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def get(self, name: str) -> str:
        """The value; raises SecretError."""
        scheme, _, rest = name.partition(":")
        if scheme == "env":
            value = os.environ.get(rest, "")
        else:
            try:
                value = (self._folder / rest).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as fault:
                raise SecretError(
                    f"{name}: expected a file with the secret alone, got: {type(fault).__name__}"
                ) from None
        if not value:
            raise SecretError(f"{name}: expected a secret, found nothing; set it")
        self.hide(value)
        return value

    def hide(self, value: str) -> None:
        """Take this out of all texts from now on."""
        if len(value) >= _SHORTEST:
            with self._lock:
                self._seen.add(value)

    def clean(self, text: str) -> str:
        """A text without any secret that was ever given out."""
        with self._lock:
            seen = sorted(self._seen, key=len, reverse=True)
        for value in seen:
            text = text.replace(value, HIDDEN)
        return text


def masked(address: str) -> str:
    """A telephone number or a mail address as it may be shown."""
    if "*" in address:
        return address
    name, at, host = address.partition("@")
    if at:
        return f"{name[:1]}***@{host}"
    digits = address.strip()
    if len(digits) < 7:
        return "*" * len(digits)
    return f"{digits[:-8]}****{digits[-4:]}" if len(digits) > 8 else f"{digits[:2]}****{digits[-2:]}"
