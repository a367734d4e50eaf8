"""Who this box is: the key that signs its evidence, and which boot it is in."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.box.state import StateError
from agent.box.twin import copy_of, read_twice, write_twice


@cache
def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def load_key(folder: Path) -> Ed25519PrivateKey:
    """Read the box's Ed25519 key, or make it on the first start; raises StateError for a damaged one.

    A damaged key is not replaced in silence: the center knows the box by it.
    """
    make, read = Ed25519PrivateKey.generate, Ed25519PrivateKey.from_private_bytes
    return _load(folder / "seal.key", make, read, "an Ed25519 key")


def load_encryption_key(folder: Path) -> X25519PrivateKey:
    """Read the key that secrets are sealed to, or make it on the first start; raises StateError for a damaged one."""
    make, read = X25519PrivateKey.generate, X25519PrivateKey.from_private_bytes
    return _load(folder / "encryption.key", make, read, "an X25519 key")


AnyKey = TypeVar("AnyKey", Ed25519PrivateKey, X25519PrivateKey)


def _load(path: Path, make: Callable[[], AnyKey], read: Callable[[bytes], AnyKey], what: str) -> AnyKey:
    try:
        if not path.exists() and not copy_of(path).exists():
            write_twice(path, make().private_bytes_raw())
        return read_twice(path, read)
    except OSError as fault:
        raise StateError(f"{path}: expected the box's key, it cannot be read or made: {fault.strerror}") from None
    except ValueError:
        raise StateError(
            f"{path}: expected {what} of 32 bytes, got {path.stat().st_size}, no good copy; restore a backup of it, "
            f"or delete it and {copy_of(path).name} so that a new one is made (the center will ask who this box is)"
        ) from None
