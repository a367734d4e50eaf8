"""Who this box is: the key that signs its evidence, and which boot it is in."""

import os
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.box.state import StateError


@cache
def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def load_key(folder: Path) -> Ed25519PrivateKey:
    """Read the box's Ed25519 key, or make it on the first start; raises StateError for a damaged one.

    A damaged key is not replaced in silence: the center knows the box by it.
    """
    path = folder / "seal.key"
    try:
        if not path.exists():
            _write(path, Ed25519PrivateKey.generate().private_bytes_raw())
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except OSError as fault:
        raise StateError(f"{path}: expected the box's key, it cannot be read or made: {fault.strerror}") from None
    except ValueError:
        raise StateError(
            f"{path}: expected an Ed25519 key of 32 bytes, got {path.stat().st_size}; "
            "restore it from a backup, or delete it so that a new one is made (the center will ask who this box is)"
        ) from None


def _write(path: Path, secret: bytes) -> None:
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
