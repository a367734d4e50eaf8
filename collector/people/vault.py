"""Second factors, and secrets of webhooks, at rest: sealed with a key in a file beside the database, never in it.

Whoever has the database, or a copy of it, and not this file has no second factor of anybody. The file holds keys, one a
line in base64, the newest first: all of them open, the first one seals. ChaCha20-Poly1305; whose secret it is is
authenticated, so that it serves nobody else.
"""

import base64
import contextlib
import hashlib
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from collector.store import PersonRow, WebhookRow, lock

KEY_FILE: Final = "people.key"
_MARK: Final = "s1"
"""Of what is sealed; a secret in base 32 has no colon."""
_NONCE_BYTES: Final = 12


class VaultError(Exception):
    """A key that is missing, or does not fit; one line that says what was expected, what came and what to do."""


class Vault:
    """Seals and opens them.

    Args:
        path: of the key file, made when something is first sealed; None: a key of this process alone, for trying out.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._own = [] if path is not None else [ChaCha20Poly1305.generate_key()]

    def seal(self, person: str, secret: str) -> str:
        """What the database keeps of a secret; raises VaultError."""
        keys = self._keys() or [self._make()]
        return _seal(keys[0], person, secret)

    def open(self, person: str, kept: str) -> str:
        """A secret again; raises VaultError."""
        mark, _, rest = kept.partition(":")
        name, _, text = rest.partition(":")
        key = next((one for one in self._keys() if _name(one) == name), None) if mark == _MARK else None
        if key is None:
            raise VaultError(
                f"{self._path}: expected the key {name!r:.20} of the second factor of {person}, found it not; put the "
                "file back from where you keep it, or run: people totp-reset"
            )
        try:
            raw = base64.b64decode(text, validate=True)
            return ChaCha20Poly1305(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], person.encode()).decode()
        except (ValueError, InvalidTag):
            raise VaultError(
                f"second factor of {person}: expected one that this center sealed for them, it does not open; "
                "run: people totp-reset"
            ) from None

    def check(self, session: Session) -> int:
        """Whether all second factors open; says how many there are. Raises VaultError."""
        found = _kept(session)
        for one in found:
            self.open(one.owner, one.value)
        return len(found)

    def add_key(self) -> None:
        """Begin a rotation: what is sealed from now on is sealed with a new key, the old ones still open."""
        self._write([ChaCha20Poly1305.generate_key(), *self._keys()])

    def rotate(self, session: Session) -> int:
        """Seal everything with the newest key; says how many. Raises VaultError: commit nothing then."""
        lock(session, ["people"])
        found = _kept(session)
        for one in found:
            setattr(one.row, one.name, self.seal(one.owner, self.open(one.owner, one.value)))
        return len(found)

    def drop_old_keys(self) -> None:
        """End a rotation, once it is committed."""
        self._write(self._keys()[:1])

    def _keys(self) -> list[bytes]:
        """Read anew each time: another collector may have rotated them, and people sign in rarely enough."""
        if self._path is None:
            return self._own
        try:
            keys = [base64.b64decode(line, validate=True) for line in self._path.read_text("ascii").split()]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as fault:
            raise VaultError(f"{self._path}: expected keys of second factors, got: {fault}") from None
        if not keys or any(len(key) != 32 for key in keys):
            raise VaultError(f"{self._path}: expected keys of 32 bytes in base64, one a line, got something else")
        return keys

    def _make(self) -> bytes:
        """The first key; of several collectors that begin together one makes it, and all have the same."""
        self._write([ChaCha20Poly1305.generate_key()], over=False)
        return self._keys()[0]

    def _write(self, keys: list[bytes], *, over: bool = True) -> None:
        if self._path is None:
            self._own = keys
            return
        text = "".join(f"{base64.b64encode(key).decode()}\n" for key in keys)
        try:
            owner = (self._path if self._path.exists() else self._path.parent).stat()
            # mkstemp makes files for their owner alone
            number, name = tempfile.mkstemp(prefix=f"{KEY_FILE}.", dir=self._path.parent)
            try:
                with os.fdopen(number, "w") as file:
                    if os.geteuid() == 0:  # whoever runs a command as root must not lock the collector out
                        os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                if over:
                    Path(name).replace(self._path)
                else:
                    with contextlib.suppress(FileExistsError):
                        os.link(name, self._path)
            finally:
                Path(name).unlink(missing_ok=True)
            # its name too lasts before anything that it sealed does
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as fault:
            raise VaultError(f"{self._path}: expected a place for the key of second factors, got: {fault}") from None


@dataclass(frozen=True)
class _Kept:
    """A secret in the database: its row, the name of its column, and whose it is."""

    row: PersonRow | WebhookRow
    name: str
    owner: str

    @property
    def value(self) -> str:
        return str(getattr(self.row, self.name))


def _kept(session: Session) -> list[_Kept]:
    """All of them: second factors, and what webhooks are signed with."""
    rows = session.scalars(select(PersonRow).where(or_(PersonRow.totp.is_not(None), PersonRow.totp_asked.is_not(None))))
    found = [_Kept(row, name, row.id) for row in rows for name in ("totp", "totp_asked") if getattr(row, name)]
    hooks = session.scalars(select(WebhookRow).order_by(WebhookRow.id))
    return [*found, *(_Kept(row, "secret", f"webhook/{row.id}") for row in hooks)]


def _seal(key: bytes, person: str, secret: str) -> str:
    # 96 random bits, for keys that seal a few thousand times at most
    nonce = secrets.token_bytes(_NONCE_BYTES)
    hidden = ChaCha20Poly1305(key).encrypt(nonce, secret.encode(), person.encode())
    return f"{_MARK}:{_name(key)}:{base64.b64encode(nonce + hidden).decode()}"


def _name(key: bytes) -> str:
    """Of a key, so that the right one is taken; says nothing of it."""
    return hashlib.sha256(b"cityeye people key\0" + key).hexdigest()[:8]
