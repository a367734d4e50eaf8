"""What is answered to a box that asks for a certificate.

The claim is used and the certificate recorded in one transaction. A box that did not get its answer asks again with the
same key and gets the same certificate, as long as its claim lasts; with another key the code is spent.
"""

import hmac
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import register, rollouts
from collector.boxes import systems as bundles
from collector.boxes.authority import Authority, key_sha256, read_request
from collector.boxes.revocation import Lists
from collector.people import audit
from collector.people.actor import Actor
from collector.store import Box, CertificateRow, Claim, Store
from protocol.broker import BrokerError
from protocol.enrolment import Enrolled, EnrolRequest, RenewRequest, read_claim

log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 10
"""Refused tries with a good code; then it is locked."""
RENEW_EVERY_S: Final = 3600.0


class DeniedError(Exception):
    """There is no certificate.

    Args:
        status: of HTTP.
        code: for programs.
        text: for the installer.
    """

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class Desk:
    """Takes claims and gives certificates.

    Args:
        store: the database.
        authority: the center's CA.
        broker_url: what boxes are told.
        days: that a certificate of a box lasts.
        now: seconds since the epoch.
        lists: what the broker refuses; None where it asks for no certificates.
    """

    def __init__(
        self,
        store: Store,
        authority: Authority,
        broker_url: str,
        days: float,
        now: Callable[[], float],
        lists: Lists | None = None,
        systems: Path | None = None,
    ) -> None:
        self._store = store
        self._authority = authority
        self._broker_url = broker_url
        self._days = days
        self._now = now
        self._lists = lists
        self._systems = systems

    def enrol(self, request: EnrolRequest) -> Enrolled:
        """Take a claim; raises DeniedError."""
        try:
            code = read_claim(request.claim)
            key = read_request(request.csr)
        except ValueError as fault:
            raise DeniedError(400, "invalid", str(fault)) from None
        now_ms = self._now_ms()
        with self._store.writing() as session:
            outcome = self._enrol(session, code, key, request.box, now_ms)
        # raised outside, so that the attempt is counted
        if isinstance(outcome, DeniedError):
            raise outcome
        enrolled, ended = outcome
        self._catch_up()
        if ended and self._lists is not None:
            # it may take a minute, and the box waits for its answer
            threading.Thread(target=self._throw_off, args=(self._lists, enrolled.box), daemon=True).start()
        log.info("box %s: enrolled at site %s with version %r", enrolled.box, enrolled.site, request.version)
        return enrolled

    def _enrol(
        self, session: Session, code: str, key: ec.EllipticCurvePublicKey, expected: str | None, now_ms: int
    ) -> tuple[Enrolled, int] | DeniedError:
        """The answer, and how many older certificates of the box it has ended."""
        digest, key_digest = register.code_sha256(code), key_sha256(key)
        claim = session.scalars(select(Claim).where(Claim.code_sha256 == digest)).first()
        if claim is None or not hmac.compare_digest(claim.code_sha256, digest):
            return DeniedError(403, "unknown_claim", "this center knows no such claim code; read the label again")
        box = register.hold_box(session, claim.box_id)
        session.refresh(claim)
        denied = _denied(claim, box, key_digest, expected, now_ms)
        if denied is not None:
            claim.attempts += 1
            log.warning("box %s: its claim was refused (%s), for the %d. time", box.id, denied.code, claim.attempts)
            return denied
        if claim.serial is not None:
            row = session.get_one(CertificateRow, claim.serial)
            return self._answer(row.pem, box), 0
        # a second claim is for a new disk: whoever has the old one is that box no longer
        ended = register.end_certificates(session, box.id, now_ms, but_of=key_digest)
        row = self._issue(session, box, key, now_ms)
        claim.key_sha256, claim.serial = key_digest, row.serial
        box.standing = "enrolled"
        return self._answer(row.pem, box), ended

    def renew(self, request: RenewRequest, serial: str) -> Enrolled:
        """Give a new certificate to a box that has shown one that is valid; raises DeniedError.

        Args:
            request: what it asks.
            serial: of the certificate that it has shown, hexadecimal.
        """
        try:
            key = read_request(request.csr)
        except ValueError as fault:
            raise DeniedError(400, "invalid", str(fault)) from None
        if self._is_refused(serial):
            raise DeniedError(403, "revoked", "this certificate was revoked; ask the center for a new code")
        now_ms = self._now_ms()
        with self._store.writing() as session:
            shown = session.get(CertificateRow, serial)
            if shown is None or shown.usage != "box" or session.get(Box, shown.name) is None:
                raise DeniedError(403, "unknown_box", "this certificate is of no box of this center")
            box = register.hold_box(session, shown.name)
            session.refresh(shown)
            if shown.revoked_ms is not None or box.standing != "enrolled":
                raise DeniedError(403, "revoked", f"box {box.id} was put out of this center")
            newest = register.newest_certificate(session, "box", box.id)
            if newest is not None and hmac.compare_digest(newest.key_sha256, key_sha256(key)):
                return self._answer(newest.pem, box)
            if newest is not None and newest.serial != shown.serial:
                wait_ms = newest.issued_ms + RENEW_EVERY_S * 1000 - now_ms
                if wait_ms > 0:
                    raise DeniedError(429, "too_soon", f"expected one renewal an hour; wait for {wait_ms / 1000:.0f} s")
            row = self._issue(session, box, key, now_ms)
            log.info("box %s: certificate renewed, with version %r", box.id, request.version)
            return self._answer(row.pem, box)

    def part(self, kind: str, sha256: str, at: int, count: int, serial: str) -> tuple[bytes, int]:
        """A part of a file and the size of the whole, for a box; raises DeniedError.

        Args:
            kind: `detector` or `system`.
            sha256: of the file.
            at: from this byte on.
            count: so many, or those that there are.
            serial: of the certificate that was shown, hexadecimal.
        """
        if self._is_refused(serial):
            raise DeniedError(403, "revoked", "this certificate was revoked")
        with self._store.reading() as session:
            shown = session.get(CertificateRow, serial)
            box = None if shown is None or shown.usage != "box" else session.get(Box, shown.name)
            if shown is None or shown.revoked_ms is not None or box is None or box.standing != "enrolled":
                raise DeniedError(403, "unknown_box", "this certificate is of no box of this center")
            found = None
            if kind == "detector":
                found = rollouts.part(session, sha256, at, count)
            elif kind == "system" and self._systems is not None:
                found = bundles.part(session, self._systems, sha256, at, count)
        if found is None:
            raise DeniedError(404, "not_found", f"this center has no such {kind}")
        return found

    def _is_refused(self, serial: str) -> bool:
        """Whether the broker refuses it: a database that was restored may not know of that any more."""
        try:
            return self._lists is not None and serial in self._lists.listed()
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as fault:
            log.error("enrolment: the broker's list of revoked certificates: %s", fault)  # noqa: TRY400 - no trace wanted
            raise DeniedError(
                503, "later", "the center cannot read which certificates are revoked; try later"
            ) from None

    def _catch_up(self) -> None:
        try:
            if self._lists is not None and self._lists.catch_up():
                log.info("enrolment: older certificates were revoked; the broker's list is written")
        except (BrokerError, OSError) as fault:
            log.error("enrolment: older certificates are revoked, but the broker goes on with them: %s", fault)  # noqa: TRY400 - no trace wanted

    def _throw_off(self, lists: Lists, box: str) -> None:
        """End the session that somebody may have open with an older certificate: the broker looks when one connects."""
        try:
            lists.throw_off(box)
            log.info("box %s: it was enrolled anew; a session with its older certificate is closed", box)
        except Exception as fault:  # noqa: BLE001 - on a thread of its own nobody else says it
            log.error("box %s: a session with its older certificate may go on: %s", box, fault)  # noqa: TRY400 - no trace

    def _issue(self, session: Session, box: Box, key: ec.EllipticCurvePublicKey, now_ms: int) -> CertificateRow:
        issued = self._authority.issue(key, box.id, "box", now_ms / 1000, self._days)
        row = register.record(session, issued, "box", box.id, now_ms)
        told = {"serial": issued.serial, "usage": "box"}
        audit.record(session, Actor.camera(box.id), "certificate.issue", f"box/{box.id}", told, now_ms)
        return row

    def _answer(self, pem: str, box: Box) -> Enrolled:
        return Enrolled(certificate=pem, ca=self._authority.pem, broker_url=self._broker_url, box=box.id, site=box.site)

    def _now_ms(self) -> int:
        return round(self._now() * 1000)


def _denied(claim: Claim, box: Box, key_digest: str, expected: str | None, now_ms: int) -> DeniedError | None:
    if claim.attempts >= MAX_ATTEMPTS:
        return DeniedError(403, "locked", "this claim code was tried too often; ask the center for a new one")
    if box.standing in register.OUT:
        return DeniedError(403, "revoked", f"box {box.id} was put out of this center; ask the center for a new code")
    if claim.expires_ms <= now_ms:
        return DeniedError(410, "expired", "this claim code has expired; ask the center for a new one")
    if expected is not None and expected != box.id:
        return DeniedError(409, "wrong_box", f"expected the claim code of box {expected}, this one is of {box.id}")
    if claim.key_sha256 is not None and not hmac.compare_digest(claim.key_sha256, key_digest):
        return DeniedError(410, "used", "this claim code was used already; ask the center for a new one")
    return None
