"""The page's own certificate, which nobody has signed; its fingerprint is on the label of the box."""

import datetime as dt
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from agent.box.twin import write_whole


def certificate(folder: Path, host: str) -> tuple[Path, str]:
    """Key and certificate in one file, made where there is no good one, and its SHA-256; raises OSError."""
    path = folder / "page.pem"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    try:
        made = x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        made = None
    if made is None or made.subject != name:
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            # a box without a battery does not know which year it is
            .not_valid_before(dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
            .not_valid_after(dt.datetime(2049, 1, 1, tzinfo=dt.UTC))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_whole(path, private + made.public_bytes(Encoding.PEM))
    return path, hashlib.sha256(made.public_bytes(Encoding.DER)).hexdigest()
