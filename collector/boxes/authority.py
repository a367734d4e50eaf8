"""The center's CA: a key that one user can read, and what it signs.

A certificate says who somebody is (its CN) and what for: boxes and collectors are clients, the broker and the enrolment
are servers, and none can play the other. The CA's folder::

    ca.key          P-256, 0600, in a folder of 0700
    ca.crt
    collector.pem   key and certificate of this collector, 0600
    server.pem      key and certificate of the enrolment, 0600
    detectors.pem   key that signs detectors, Ed25519, and its certificate, 0600; made with the first one

Instants are seconds since the epoch.
"""

import datetime as dt
import hashlib
import ipaddress
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.instants import from_epoch

RESERVED: Final = "cityeye-"
"""Names that begin so are the center's own; no box has one, or it would have the center's rights."""
CA_DAYS: Final = 25 * 365
OWN_DAYS: Final = 5 * 365
BACKDATED: Final = dt.timedelta(days=1)
"""A box whose clock is behind must not find its new certificate to be from the future."""

Usage = Literal["box", "collector", "server", "detectors"]
PURPOSES: Final = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "detectors": ExtendedKeyUsageOID.CODE_SIGNING}
Names = Sequence[str]


class AuthorityError(Exception):
    """A CA that cannot be made or used; one line that says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Issued:
    """A certificate that was made."""

    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def serial(self) -> str:
        """Its number, hexadecimal."""
        return f"{self.certificate.serial_number:x}"

    @property
    def key_sha256(self) -> str:
        """SHA-256 of its public key."""
        return key_sha256(self.certificate.public_key())

    @property
    def not_after_ms(self) -> int:
        """When it expires."""
        return round(self.certificate.not_valid_after_utc.timestamp() * 1000)


class Authority:
    """A CA that is open for signing.

    Args:
        folder: where it lies.
        key: of the CA.
        certificate: of the CA.
    """

    def __init__(self, folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.folder = folder
        self.certificate = certificate
        self.key = key

    @classmethod
    def create(cls, folder: Path, name: str, now_s: float) -> Self:
        """Make a CA; raises AuthorityError where there is one, or anything else in the way."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        except OSError as fault:
            raise AuthorityError(f"{folder}: expected a folder that can be made, got: {fault.strerror}") from None
        if (folder / "ca.key").exists() or (folder / "ca.crt").exists():
            raise AuthorityError(
                f"{folder}: expected no CA, found one; every box trusts it, so it is not overwritten: move it away "
                "if you mean to enrol every box anew; `init --renew` makes the other certificates again"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self_signed(key, f"CityEye {name}", now_s)
        write_secret(folder / "ca.key", private_pem(key))
        write_public(folder / "ca.crt", certificate.public_bytes(Encoding.PEM))
        return cls(folder, key, certificate)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a CA; raises AuthorityError, also where others could read its key."""
        try:
            for path in (folder, folder / "ca.key"):
                if stat.S_IMODE(path.stat().st_mode) & 0o077:
                    raise AuthorityError(f"{path}: expected to be closed to all but one user; run: chmod go= {path}")
            key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
            certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        except FileNotFoundError:
            raise AuthorityError(
                f"{folder}: expected the center's CA, found none; run `cityeye-collector init`, or run this where it is"
            ) from None
        except OSError as fault:
            raise AuthorityError(f"{folder}: expected a CA that can be read, got: {fault.strerror}") from None
        except ValueError:
            raise AuthorityError(f"{folder}: ca.key or ca.crt is damaged; restore both from a back-up") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise AuthorityError(f"{folder}: ca.key does not belong to ca.crt; restore both from a back-up")
        return cls(folder, key, certificate)

    @property
    def pem(self) -> str:
        """The CA's certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA's certificate; what a label pins."""
        return fingerprint(self.certificate)

    def issue(
        self,
        public_key: ec.EllipticCurvePublicKey | Ed25519PublicKey,
        name: str,
        usage: Usage,
        now_s: float,
        days: float,
        hosts: Names = (),
    ) -> Issued:
        """Sign a certificate.

        Args:
            public_key: whose it is; P-256, or Ed25519 to sign detectors with.
            name: the CN; the broker takes it for the user's name.
            usage: `box` and `collector` may only be clients, `server` may only be a server,
                `detectors` may only sign those.
            now_s: it begins a day before.
            days: it ends after so many, and never after the CA.
            hosts: DNS names and addresses of a server.
        """
        if usage == "box" and name.startswith(RESERVED):
            raise AuthorityError(f"box {name}: names that begin with {RESERVED} are the center's own; choose another")
        now = from_epoch(now_s)
        purpose = PURPOSES.get(usage, ExtendedKeyUsageOID.CLIENT_AUTH)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - BACKDATED, self.certificate.not_valid_before_utc))
            .not_valid_after(min(now + dt.timedelta(days=days), self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([host_name(one) for one in hosts]), critical=False
            )
        return Issued(builder.sign(self.key, hashes.SHA256()))

    def revocations(self, serials: Mapping[str, float], now_s: float) -> bytes:
        """Sign the list of revoked certificates: serial to when it was revoked. PEM.

        It is good as long as the CA: a broker takes nobody in once its list has expired, and it is fetched from a file.
        """
        now = from_epoch(now_s)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(max(now - BACKDATED, self.certificate.not_valid_before_utc))
            .next_update(self.certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(round(now_s * 1000)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for serial, at_s in sorted(serials.items()):
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(serial, 16))
                .revocation_date(from_epoch(at_s).replace(microsecond=0))
                .build()
            )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def revoked_serials(crl: bytes) -> dict[str, float]:
    """Read a list of revoked certificates: serial to when it was revoked; raises ValueError."""
    return {f"{one.serial_number:x}": one.revocation_date_utc.timestamp() for one in x509.load_pem_x509_crl(crl)}


def read_request(pem: str) -> ec.EllipticCurvePublicKey:
    """The key of a signing request; raises ValueError. All else in it is ignored: the center says who a box is."""
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        sound = request.is_signature_valid
    except (InvalidSignature, ValueError, TypeError, x509.InvalidVersion):
        raise ValueError("expected a signing request (PKCS #10, PEM) that can be read") from None
    except Exception as fault:  # noqa: BLE001 - the parser's faults for hostile input are many
        raise ValueError(f"expected a signing request that can be read, got {type(fault).__name__}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("expected a signing request for a P-256 key")  # noqa: TRY004 - what came is at fault, not a caller
    if not sound:
        raise ValueError("expected a signing request that its own key signed")
    return key


def ends(path: Path) -> float:
    """When the certificate in a PEM file expires, in seconds since the epoch; raises AuthorityError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        raise AuthorityError(
            f"{path}: expected a certificate, found none; run `cityeye-collector init --renew --name HOST`"
        ) from None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def key_sha256(key: object) -> str:
    """SHA-256 of a public key."""
    if not isinstance(key, ec.EllipticCurvePublicKey | Ed25519PublicKey):
        raise TypeError(f"expected a P-256 or an Ed25519 key, got {type(key).__name__}")
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def private_pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    """A private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that one user can read, at once or not at all."""
    _write(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    """Write a file that all can read, at once or not at all."""
    _write(path, content, 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as fault:
        raise AuthorityError(f"{path}: expected a file that can be written, got: {fault.strerror}") from None


def self_signed(key: ec.EllipticCurvePrivateKey, name: str, now_s: float) -> x509.Certificate:
    """A certificate of a CA that signs for itself."""
    now = from_epoch(now_s)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + dt.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def host_name(text: str) -> x509.GeneralName:
    """A DNS name or an address for a certificate; raises AuthorityError."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", text):
        raise AuthorityError(f"--name: expected a host's name or address, got {text!r}")
    return x509.DNSName(text)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
