"""The center's own seal: an Ed25519 key in a file beside the database, never in it and in no copy of it.

Packages of evidence are signed with it; its public half may be given to anybody, once and by another way.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from collector.boxes.authority import AuthorityError

KEY_FILE: Final = "evidence.key"


def open_key(data_dir: Path) -> Ed25519PrivateKey:
    """The center's key, made when it is first needed; raises AuthorityError."""
    path = data_dir / KEY_FILE
    try:
        if not path.exists():
            _make(path)
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as fault:
        raise AuthorityError(f"{path}: expected the key that signs evidence, got: {fault.strerror}") from None
    except ValueError:
        raise AuthorityError(f"{path}: it is damaged; put it back from where you keep it") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise AuthorityError(f"{path}: expected an Ed25519 key")
    return key


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # mkstemp makes files for their owner alone; of several that begin together one is kept
    number, name = tempfile.mkstemp(prefix=f"{KEY_FILE}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            if os.geteuid() == 0:  # whoever runs a command as root must not lock the collector out
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        Path(name).unlink(missing_ok=True)
