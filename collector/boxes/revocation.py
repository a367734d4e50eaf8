"""How a box is put out at once.

mosquitto reads its list of revoked certificates (CRL) again on SIGHUP, but compares it with new connections only: a
session that is open goes on. So, after the list is in force, the center connects once *as that box*, with a certificate
of its own making: the broker then closes the other session of that name, and the box cannot come back. That the list is
in force is seen, not believed: each list revokes a certificate that was made for it, and the broker must refuse that.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import delete
from sqlalchemy.orm import Session

from collector.boxes import broker_files, register
from collector.boxes.authority import Authority, Issued, revoked_serials, write_public
from collector.boxes.probe import Passes, Probe
from collector.store import CertificateRow, Store, lock
from protocol.broker import BrokerError, BrokerLine
from protocol.topics import Topic

CRL: Final = "crl.pem"
IN_FORCE_S: Final = 60.0
EVERY_S: Final = 1.0
RELOAD_S: Final = 20.0


class Lists:
    """The broker's ACL and CRL.

    Args:
        store: the database.
        authority: the center's CA, which signs the CRL.
        files: folder that the broker reads.
        reload: command that makes the broker read them again; empty: something else sees to it.
        line: where the broker is.
        folder: what the paths of `line` are relative to.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        authority: Authority,
        files: Path,
        reload: Sequence[str],
        line: BrokerLine,
        folder: Path,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._authority = authority
        self._files = files
        self._reload = reload
        self._line = line
        self._folder = folder
        self._now = now

    def write(self) -> None:
        """Write both anew; `read_again` has the broker read them."""
        with self._writing() as session:
            write_public(self._files / "acl", broker_files.acl(register.collectors(session)).encode())
            self._write_crl(session)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Session]:
        """A transaction in which nobody else reads or writes the files: a list that was read before is not written."""
        with self._store.writing() as session:
            lock(session, ["revocations"])
            yield session

    def listed(self) -> dict[str, float]:
        """What the broker refuses: serial to when it was revoked, in seconds; raises OSError, ValueError."""
        return revoked_serials((self._files / CRL).read_bytes())

    def catch_up(self) -> bool:
        """Have the broker refuse what was revoked in the database alone; says whether there was any.

        Raises BrokerError, OSError.
        """
        with self._store.transaction() as session:
            serials, expired = register.revoked(session, round(self._now() * 1000))
        with contextlib.suppress(FileNotFoundError, ValueError):
            listed = self.listed()
            serials = {serial: at_s for serial, at_s in serials.items() if serial not in listed}
        if not serials.keys() - expired:
            return False
        self.write()
        self.read_again()
        return True

    def _write_crl(self, session: Session) -> None:
        now_s = self._now()
        now_ms = round(now_s * 1000)
        serials, expired = register.revoked(session, now_ms)
        session.execute(
            delete(CertificateRow).where(CertificateRow.usage == "probe", CertificateRow.not_after_ms < now_ms)
        )
        # what was revoked stays so, even where the database was restored from an old copy
        with contextlib.suppress(FileNotFoundError, ValueError):
            serials = self.listed() | serials
        kept = {serial: at_s for serial, at_s in serials.items() if serial not in expired}
        write_public(self._files / CRL, self._authority.revocations(kept, now_s))

    def read_again(self) -> None:
        """Make the broker read both; raises BrokerError."""
        if not self._reload:
            return
        try:
            subprocess.run(self._reload, check=True, timeout=RELOAD_S, capture_output=True, text=True)
        except (OSError, subprocess.SubprocessError) as fault:
            words = (getattr(fault, "stderr", "") or str(fault)).strip().splitlines()[-1]
            raise BrokerError(
                f"[enrolment] broker_reload: the broker was not told to read its lists again: {words}; is it running?"
            ) from None

    def in_force(self, wait_s: float = IN_FORCE_S) -> float:
        """Write the CRL and wait until the broker goes by it; says how many seconds that took.

        Raises BrokerError where it does not.
        """
        with Passes() as passes:
            good, _ = passes.issue(self._authority, broker_files.CHECK_USER, self._now())
            bad, revoked = passes.issue(self._authority, f"{broker_files.CHECK_USER}-revoked", self._now())
            with self._writing() as session:
                self._revoke_probe(session, revoked)
                self._write_crl(session)
            self.read_again()
            began_s = time.monotonic()
            while self._let_in(bad):
                if time.monotonic() - began_s > wait_s:
                    raise BrokerError(
                        f"{self._line.url}: the broker still lets in what was revoked {wait_s:.0f} s ago; it reads "
                        "crlfile on SIGHUP: run `systemctl reload mosquitto`, and set [enrolment] broker_reload"
                    )
                time.sleep(EVERY_S)
            took_s = time.monotonic() - began_s
            if not self._let_in(good):
                raise BrokerError(f"{self._line.url}: the broker lets nobody in; look into its log")
        return took_s

    def _revoke_probe(self, session: Session, issued: Issued) -> None:
        now_ms = round(self._now() * 1000)
        register.record(session, issued, "probe", broker_files.CHECK_USER, now_ms).revoked_ms = now_ms

    def _let_in(self, shown: Path) -> bool:
        with Probe(self._line, self._folder, shown.stem, shown) as probe:
            return probe.connect()

    def throw_off(self, box: str) -> None:
        """Close the session of a box, whoever has it, once what was revoked lets nobody in; raises BrokerError."""
        self.in_force()
        self._take_over(box, ())

    def evict(self, site: str, box: str, cameras: Sequence[str]) -> None:
        """Close a box's session and take back what it had retained; raises BrokerError."""
        own = [Topic(site, box, leaf) for leaf in ("status", "settings/reported", "model/reported", "system/reported")]
        self._take_over(box, (*own, *(Topic(site, box, "camera", one) for one in cameras)))

    def _take_over(self, box: str, retained: Sequence[Topic]) -> None:
        """Be this box for a moment, and take back what it had retained."""
        with Passes() as passes:
            shown, _ = passes.issue(self._authority, box, self._now())
            with Probe(self._line, self._folder, box, shown) as probe:
                if not probe.connect():
                    raise BrokerError(f"{self._line.url}: box {box}: its session could not be closed; try again")
                for topic in retained:
                    probe.publish(str(topic), b"", retain=True)
