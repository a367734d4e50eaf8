"""Passwords: what is kept of them, and which ones are taken."""

import secrets
import threading
import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST: Final = 12
"""Characters. NIST SP 800-63B-4 wants 8 beside a second factor and 15 without; length is all that it asks of people."""
LONGEST: Final = 256
DISTINCT: Final = 5
AT_ONCE: Final = 2
"""Hashes at the same time: each takes 64 MiB and all of a core."""
WAIT_S: Final = 5.0
ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of passwords that are made here: nothing that looks like something else."""


class PasswordError(Exception):
    """A password that is not taken; says what was expected."""


class BusyError(Exception):
    """Too many people sign in at once."""


def argon2id() -> PasswordHasher:
    """Argon2id with the second recommended option of RFC 9106, section 4: 3 passes over 64 MiB with 4 lanes.

    OWASP's least is 19 MiB and 2 passes; 64 MiB for at most `AT_ONCE` is bearable on any center.
    """
    return PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4, hash_len=32, salt_len=16)


class Passwords:
    """Makes and checks hashes, a few at a time.

    Args:
        hasher: argon2id with its parameters; hashes made with others are made anew at the next sign-in.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2id()
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._nobody: str | None = None
        self._lock = threading.Lock()

    def hash(self, password: str) -> str:
        """What is kept; raises BusyError."""
        with _Turn(self._room):
            return self._hasher.hash(_normal(password))

    def fits(self, kept: str | None, password: str) -> bool:
        """Whether a password is the one; takes as long where there is none to compare with. Raises BusyError."""
        with self._lock:
            if self._nobody is None:
                self._nobody = self._hasher.hash(secrets.token_hex(16))
        with _Turn(self._room):
            try:
                self._hasher.verify(kept or self._nobody, _normal(password)[:LONGEST])
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether it was made with other parameters."""
        return self._hasher.check_needs_rehash(kept)


class _Turn:
    def __init__(self, room: threading.BoundedSemaphore) -> None:
        self._room = room

    def __enter__(self) -> None:
        if not self._room.acquire(timeout=WAIT_S):
            raise BusyError(
                "同时登录的人太多，请几秒后再试 / too many sign in at this moment; try again in a few seconds"
            )

    def __exit__(self, *_: object) -> None:
        self._room.release()


def check_new(password: str, *names: str) -> None:
    """Raise PasswordError for one that is too short, too long, too simple, or one of these names with a tail."""
    text = _normal(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise PasswordError(
            f"密码须 {SHORTEST} 至 {LONGEST} 个字符，现为 {len(text)} 个 / "
            f"expected {SHORTEST} to {LONGEST} characters, got {len(text)}"
        )
    if len(set(text)) < DISTINCT:
        raise PasswordError(
            f"密码须至少有 {DISTINCT} 种不同字符 / expected at least {DISTINCT} different characters, got fewer"
        )
    rest = text.casefold()
    for name in (*names, "cityeye", "password", "12345678", "qwertyui", "admin"):
        if name:
            rest = rest.replace(_normal(name).casefold(), "")
    if len(rest) < SHORTEST // 2:
        raise PasswordError(
            "密码不得以姓名、登录名或常见密码为主 / "
            "expected more than a name or a well-known password with a few characters"
        )


def make() -> str:
    """A new password of 79 random bits, as it can be read out on the telephone."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))


def _normal(password: str) -> str:
    """The same characters in one way of writing them (NIST SP 800-63B-4: normalise before hashing)."""
    return unicodedata.normalize("NFKC", password)
