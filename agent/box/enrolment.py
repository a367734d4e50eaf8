"""How the box becomes one of a center's, and stays it: its key, its certificate, and their renewal.

All of it lies in `center/` of the state folder::

    center.json     which box it is, and where enrolment and broker are; written last
    ca.crt          the center's CA, compared with the label
    box.pem         key and certificate in one file, 0600, so that a renewal exchanges both at once
    pending.key     a key that has been asked a certificate for; kept until there is one

The first three have copies (`agent.box.twin`).
"""

import contextlib
import datetime as dt
import fcntl
import hashlib
import http.client
import logging
import os
import random
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.box.twin import read_twice, write_twice, write_whole
from protocol.enrolment import MAX_BODY_BYTES, Denied, Enrolled, EnrolRequest, Invitation, RenewRequest, matches
from protocol.ids import Slug

log = logging.getLogger(__name__)

FOLDER: Final = "center"
TIMEOUT_S: Final = 15.0
RENEW_AT: Final = 2 / 3
"""Of a certificate's life; and up to a tenth of it later, so that a fleet does not come at once."""
SPREAD: Final = 0.1
TRY_AGAIN_S: Final = 3600.0
_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for."""
Body = TypeVar("Body", bound=BaseModel)


class EnrolmentError(Exception):
    """There is no certificate; one line that says what was expected, what came and what to do."""


class RefusedError(EnrolmentError):
    """A center answered, and it will not have this box; or it is another center."""


class Membership(BaseModel):
    """Which box of which center this is; `center.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    box: Slug
    site: Slug
    url: str = Field(description="of the enrolment")
    broker_url: str

    @classmethod
    def load(cls, state_dir: Path) -> "Membership | None":
        """Read it; None where the box was not enrolled. Raises EnrolmentError for a damaged file."""
        path = state_dir / FOLDER / "center.json"
        try:
            return read_twice(path, cls.model_validate_json)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as fault:
            words = fault.strerror if isinstance(fault, OSError) else "it is damaged"
            raise EnrolmentError(f"{path}: expected what `cityeye-agent enrol` wrote: {words}; enrol anew") from None

    def line(self, state_dir: Path) -> dict[str, str]:
        """Broker and certificates, as the settings name them."""
        folder = state_dir / FOLDER
        for name in ("ca.crt", "box.pem"):
            with contextlib.suppress(OSError, ValueError):  # what is wrong with them, the line says
                read_twice(folder / name, x509.load_pem_x509_certificate)
        pair = str(folder / "box.pem")
        return {"url": self.broker_url, "ca": str(folder / "ca.crt"), "cert": pair, "key": pair}


@dataclass(frozen=True)
class Lifetime:
    """When a certificate begins and ends, in seconds since the epoch."""

    begins_s: float
    ends_s: float

    @classmethod
    def of(cls, path: Path) -> "Lifetime":
        """Of the certificate in a PEM file; raises OSError, ValueError."""
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        return cls(certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())

    def due_s(self, jitter: float) -> float:
        """When to renew it; `jitter` is 0 to 1."""
        return self.begins_s + (self.ends_s - self.begins_s) * (RENEW_AT + SPREAD * jitter)


def enrol(state_dir: Path, invitation: Invitation, version: str, box: str | None = None) -> Membership:
    """Take a claim to the center and keep what it gives; raises EnrolmentError.

    May be called again with the same label after any failure: the key stays, and the center knows it again.

    Args:
        state_dir: the box's state folder.
        invitation: what the label says.
        version: of this software.
        box: who this box is, where that is known.
    """
    known = Membership.load(state_dir)
    expected = box or (known.box if known is not None else None)
    if expected and invitation.box and expected != invitation.box:
        raise EnrolmentError(
            f"expected the label of box {expected}, as this box is {expected} already, got that of {invitation.box}; "
            "take the right label, or set up an empty state folder and box.toml"
        )
    folder = state_dir / FOLDER
    _make(folder)
    with _alone(folder):
        return _enrol(folder, invitation, version, expected or invitation.box)


def _enrol(folder: Path, invitation: Invitation, version: str, expected: str | None) -> Membership:
    ca = _fetch_ca(invitation)
    key = _pending(folder)
    request = EnrolRequest(claim=invitation.claim, csr=_csr(key), version=version, box=expected)
    answer = _ask(invitation.url, "/enrol", request, _context(ca))
    pair = _checked(answer, key, ca, expected)
    member = Membership(box=answer.box, site=answer.site, url=invitation.url, broker_url=answer.broker_url)
    _keep(folder / "ca.crt", ca.encode(), 0o644)
    _keep(folder / "box.pem", pair)
    _keep(folder / "center.json", member.model_dump_json(indent=1).encode(), 0o644)
    (folder / "pending.key").unlink(missing_ok=True)
    return member


def renew(state_dir: Path, member: Membership, version: str) -> Lifetime:
    """Exchange key and certificate for new ones while they are valid; raises EnrolmentError."""
    folder = state_dir / FOLDER
    context, ca = own_context(state_dir), own_ca(state_dir)
    key = _pending(folder)
    answer = _ask(member.url, "/renew", RenewRequest(csr=_csr(key), version=version), context)
    _keep(folder / "box.pem", _checked(answer, key, ca, member.box))
    (folder / "pending.key").unlink(missing_ok=True)
    return Lifetime.of(folder / "box.pem")


def own_ca(state_dir: Path) -> str:
    """The center's CA, PEM; raises EnrolmentError."""
    path = state_dir / FOLDER / "ca.crt"
    try:
        return path.read_text("ascii")
    except (OSError, ValueError) as fault:
        raise EnrolmentError(f"{path}: expected the center's CA, got: {fault}; enrol anew") from None


def own_context(state_dir: Path) -> ssl.SSLContext:
    """TLS to the center with this box's certificate; raises EnrolmentError."""
    path = state_dir / FOLDER / "box.pem"
    try:
        context = _context(own_ca(state_dir))
        context.load_cert_chain(path)
    except (OSError, ValueError) as fault:
        raise EnrolmentError(f"{path}: expected this box's certificate, got: {fault}; enrol anew") from None
    return context


class Renewal:
    """Renews the box's certificate in time, on a thread of its own; the next connection uses the new one.

    Args:
        state_dir: the box's state folder.
        version: of this software.
        now: seconds since the epoch.
        monotonic: seconds that never jump.
        jitter: 0 to 1; where in the last tenth before `RENEW_AT` plus a tenth this box comes.
    """

    def __init__(
        self,
        state_dir: Path,
        version: str,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._state_dir = state_dir
        self._version = version
        self._now = now
        self._monotonic = monotonic
        self._jitter = jitter
        self._member = Membership.load(state_dir)
        self._due_s = self._read_due()
        self._not_before_s = 0.0
        self._told = ""
        self._thread: threading.Thread | None = None

    def _read_due(self) -> float | None:
        if self._member is None:
            return None
        try:
            lifetime = Lifetime.of(self._state_dir / FOLDER / "box.pem")
        except (OSError, ValueError) as fault:
            log.warning("center: box.pem cannot be read (%s); enrol this box anew", fault)
            return None
        return lifetime.due_s(self._jitter())

    def tend(self) -> None:
        """Begin a renewal where it is due; returns at once."""
        if self._due_s is None or self._now() < self._due_s or self._monotonic() < self._not_before_s:
            return
        if self._thread is None or not self._thread.is_alive():
            self._not_before_s = self._monotonic() + TRY_AGAIN_S * (1 + self._jitter())
            self._thread = threading.Thread(target=self._renew, name="renewal", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for a renewal that is under way."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _renew(self) -> None:
        if self._member is None:
            return
        try:
            lifetime = renew(self._state_dir, self._member, self._version)
        except EnrolmentError as fault:
            if str(fault) != self._told:
                self._told = str(fault)
                log.warning("center: the certificate is not renewed yet: %s", fault)
            return
        except Exception:
            log.exception("center: the certificate is not renewed")
            return
        self._told = ""
        self._due_s = lifetime.due_s(self._jitter())
        ends = dt.datetime.fromtimestamp(lifetime.ends_s, dt.UTC)
        log.info("center: certificate renewed, good until %s", ends.date())


def center_time(state_dir: Path, member: Membership) -> float | None:
    """What the center's clock says, in whole seconds since the epoch; None where it does not answer."""
    line: http.client.HTTPSConnection | None = None
    try:
        context = _context((state_dir / FOLDER / "ca.crt").read_text("ascii"))
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)  # a clock that is wrong is what is asked about
        parts = urlsplit(member.url)
        line = http.client.HTTPSConnection(parts.hostname or "", parts.port or 443, timeout=TIMEOUT_S, context=context)
        line.request("GET", "/ca")
        date = line.getresponse().getheader("date")
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        if line is not None:
            line.close()


def _fetch_ca(invitation: Invitation) -> str:
    """Ask for the CA over a line that proves nothing, and believe it only where it is the one on the label."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    status, body = _exchange(invitation.url, "GET", "/ca", None, context)
    try:
        certificate = x509.load_pem_x509_certificate(body if status == 200 else b"")
    except ValueError:
        raise EnrolmentError(
            f"{invitation.url}: expected the enrolment of a center, something else answers there; check the address"
        ) from None
    der = certificate.public_bytes(Encoding.DER)
    if not matches(invitation.fingerprint, hashlib.sha256(der).hexdigest()):
        raise RefusedError(
            f"{invitation.url}: expected the center whose CA is sha256:{invitation.fingerprint[:16]}…, as the label "
            "says; another one answers there. Somebody may be in between: nothing was sent; ask the center"
        )
    return certificate.public_bytes(Encoding.PEM).decode()


def _context(ca: str) -> ssl.SSLContext:
    """TLS that trusts the center's CA and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca)
    return context


def _ask(url: str, path: str, request: BaseModel, context: ssl.SSLContext) -> Enrolled:
    status, body = _exchange(url, "POST", path, request.model_dump_json(exclude_none=True).encode(), context)
    if status == 200:
        return _read(url, body, Enrolled)
    raise RefusedError(f"{url}: {_read(url, body, Denied).text}")


def _read(url: str, body: bytes, model: type[Body]) -> Body:
    try:
        return model.model_validate_json(body)
    except ValidationError:
        raise EnrolmentError(f"{url}: expected the enrolment of a center, its answer makes no sense") from None


def _exchange(url: str, verb: str, path: str, body: bytes | None, context: ssl.SSLContext) -> tuple[int, bytes]:
    parts = urlsplit(url)
    headers: Mapping[str, str] = {} if body is None else {"content-type": "application/json"}
    line = http.client.HTTPSConnection(parts.hostname or "", parts.port or 443, timeout=TIMEOUT_S, context=context)
    try:
        line.request(verb, path, body, headers)
        answer = line.getresponse()
        return answer.status, answer.read(4 * MAX_BODY_BYTES)
    except ssl.SSLCertVerificationError as fault:
        now = dt.datetime.now(dt.UTC)
        raise EnrolmentError(
            f"{url}: expected the center's certificate, got: {fault.verify_message}; this box's clock says "
            f"{now:%Y-%m-%d %H:%M} UTC: is it right? is this the address on the label?"
        ) from None
    except (OSError, http.client.HTTPException) as fault:
        words = (fault.strerror if isinstance(fault, OSError) else None) or str(fault) or type(fault).__name__
        raise EnrolmentError(
            f"{url}: expected the center to answer, got: {words}; check cable and address, and try again with the "
            "same label"
        ) from None
    finally:
        line.close()


def _checked(answer: Enrolled, key: ec.EllipticCurvePrivateKey, ca: str, box: str | None) -> bytes:
    """Key and certificate, where the certificate is what was asked for; raises EnrolmentError."""
    try:
        certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.encode()))
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        good = certificate.public_key() == key.public_key() and [one.value for one in names] == [answer.box]
    except (ValueError, TypeError, InvalidSignature):
        good = False
    if not good or (box is not None and answer.box != box):
        raise EnrolmentError(
            f"expected a certificate for box {box or answer.box} and its key by the center's CA, got another; "
            "ask the center"
        )
    return _private_pem(key) + answer.certificate.encode()


def _pending(folder: Path) -> ec.EllipticCurvePrivateKey:
    """The key that a certificate is asked for: the one of the last try, so that the center knows it again."""
    path = folder / "pending.key"
    with contextlib.suppress(OSError, ValueError):
        key = load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    fresh = ec.generate_private_key(ec.SECP256R1())
    _keep(path, _private_pem(fresh), write=write_whole)
    return fresh


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _csr(key: ec.EllipticCurvePrivateKey) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise EnrolmentError(f"{folder}: expected a folder that can be made, got: {fault.strerror}") from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One after the other: agent and set-up page may both have a label."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _keep(
    path: Path, content: bytes, mode: int = 0o600, write: Callable[[Path, bytes, int], None] = write_twice
) -> None:
    try:
        write(path, content, mode)
    except OSError as fault:
        raise EnrolmentError(f"{path}: expected a file that can be written, got: {fault.strerror}") from None


def fill_in(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Complete what `box.toml` says by what the enrolment knows: who the box is, and the line to its center.

    A `[center]` with a certificate of its own stays as it is; so does the address of an `mqtts://` broker.
    Raises EnrolmentError where the two contradict each other.

    Args:
        values: the file as it was read.
        folder: what its paths are relative to.
    """
    box = values.get("box", {})
    center = values.get("center", {})
    if not isinstance(box, dict) or not isinstance(center, dict):
        return values
    state_dir = (folder / str(box.get("state_dir", "state"))).resolve()
    member = Membership.load(state_dir)
    if member is None:
        return values
    own = {"id": member.box, "site": member.site}
    for name, value in own.items():
        if box.get(name, value) != value:
            raise EnrolmentError(
                f"box: {name}: this box is enrolled as {name} {value!r}, got {box[name]!r}; leave {name} out, or "
                f"enrol anew with an empty {state_dir / FOLDER}"
            )
    filled = values | {"box": own | box}
    if "cert" not in center:
        line = member.line(state_dir)
        if str(center.get("url", "")).startswith("mqtts:"):
            line["url"] = center["url"]
        filled["center"] = line
    return filled
