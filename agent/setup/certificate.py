"""The page's own certificate: nobody has signed it, its fingerprint is on the label of the box."""

import datetime as dt
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from agent.box.door import Plate
from agent.box.twin import write_whole


def certificate(folder: Path, host: str) -> tuple[Path, str]:
    """Key and certificate in one file, made where there are none for this host, and its SHA-256; raises OSError."""
    path = folder / "page.pem"
    try:
        known = x509.load_pem_x509_certificate(path.read_bytes())
        names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if host in names.get_values_for_type(x509.DNSName):
            return path, _fingerprint(known)
    except (OSError, ValueError, x509.ExtensionNotFound):
        pass
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # a box without a battery does not know which year it is
        .not_valid_before(dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2049, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host), x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(path, private + made.public_bytes(Encoding.PEM))
    return path, _fingerprint(made)


def label(plate: Plate, port: int, fingerprint: str) -> str:
    """What the QR code on the box says; what follows `#` stays in the telephone."""
    return f"https://cityeye-{plate.name}.local:{port}/#pin={plate.pin}&sha256={fingerprint}"


def _fingerprint(made: x509.Certificate) -> str:
    return hashlib.sha256(made.public_bytes(Encoding.DER)).hexdigest()
