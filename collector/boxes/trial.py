"""The proof, on the running broker, that nobody can do what they should not.

Two boxes that exist nowhere, with certificates of ten minutes, try what a stolen or hostile box would try, at a site of
their own that collectors do not hear. Each line of the outcome says what holds, or how it does not.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from collector.boxes.authority import Authority, Issued, self_signed
from collector.boxes.broker_files import CHECK_USER
from collector.boxes.probe import Passes, Probe
from protocol.broker import MAX_PACKET_BYTES, BrokerError, BrokerLine
from protocol.topics import BOX_READS, BOX_WRITES, PER_CAMERA, ROOT, Topic

FIRST, SECOND = f"{CHECK_USER}-a", f"{CHECK_USER}-b"
CAMERA: Final = "cam"
SETTLE_S: Final = 1.0


@dataclass(frozen=True)
class Finding:
    """One line of the outcome; `fault` is empty where it holds."""

    name: str
    fault: str = ""


class Trial:
    """Tries a broker.

    Args:
        authority: the center's CA.
        line: where the broker is.
        folder: what the paths of `line` are relative to.
        revoke: puts a list in force that revokes a certificate of its own making; raises BrokerError.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        authority: Authority,
        line: BrokerLine,
        folder: Path,
        revoke: Callable[[], object],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._authority = authority
        self._line = line
        self._folder = folder
        self._revoke = revoke
        self._now = now

    def run(self) -> Iterator[Finding]:
        """Each finding as it is made; raises BrokerError where no broker answers."""
        with Passes() as passes:
            self._passes = passes
            self._shown = {
                name: passes.issue(self._authority, name, self._now())[0] for name in (FIRST, SECOND, CHECK_USER)
            }
            with self._probe(FIRST) as first:
                let_in = first.connect()
            yield Finding("a box with its certificate is let in", "" if let_in else "it is refused; is this its CA?")
            if not let_in:
                return
            yield from self._strangers()
            yield Finding("a revoked certificate is refused", _fault(self._revoke))
            yield self._takeover()
            yield from self._writing()
            yield from self._reading()
            yield self._will()
            yield self._large()

    def _probe(self, name: str, client_id: str | None = None, will: tuple[str, bytes] | None = None) -> Probe:
        return Probe(self._line, self._folder, client_id or name, self._shown[name], will)

    def _strangers(self) -> Iterator[Finding]:
        """Certificates that must not do."""
        now_s, passes = self._now(), self._passes
        foreign = Authority.create(passes.folder / "foreign", "CityEye", now_s)
        key = ec.generate_private_key(ec.SECP256R1())
        expired = self._authority.issue(key.public_key(), FIRST, "collector", now_s, days=-0.5)
        for name, shown in (
            ("no certificate", None),
            ("a certificate that a box made itself", passes.keep(key, Issued(self_signed(key, FIRST, now_s)).pem)),
            ("a certificate of a foreign CA", passes.issue(foreign, FIRST, now_s)[0]),
            ("an expired certificate", passes.keep(key, expired.pem)),
            ("a server's certificate", passes.issue(self._authority, FIRST, now_s, "server")[0]),
        ):
            with Probe(self._line, self._folder, FIRST, shown) as probe:
                let_in = probe.connect()
            yield Finding(f"{name} is refused", "it is let in; set require_certificate and cafile" if let_in else "")

    def _takeover(self) -> Finding:
        name = "a box cannot take over another's session"
        with self._probe(SECOND) as owner, self._probe(FIRST, client_id=SECOND) as thief:
            if not owner.connect():
                return Finding(name, "the second box is not let in")
            thief.connect()
            if owner.wait_gone(SETTLE_S):
                return Finding(name, "the other one was thrown off by its client id; set use_username_as_clientid")
        return Finding(name)

    def _writing(self) -> Iterator[Finding]:
        with self._probe(FIRST) as box:
            box.connect()
            for name, topics, fault in (
                (
                    "a box cannot publish as another",
                    [_topic(SECOND, leaf) for leaf in BOX_WRITES],
                    "it is taken on {}; set acl_file",
                ),
                (
                    "a box cannot forge orders to another",
                    [_topic(SECOND, leaf) for leaf in BOX_READS],
                    "it is taken on {}; set acl_file",
                ),
                (
                    "a box cannot forge its own orders",
                    [_topic(FIRST, leaf) for leaf in BOX_READS],
                    "it is taken on {}; a box writes only its own leaves",
                ),
                (
                    "a box cannot publish elsewhere",
                    [f"{ROOT}/{CHECK_USER}", _topic(FIRST, "other"), f"{_topic(FIRST, 'status')}/more", "other"],
                    "it is taken on {}; set acl_file",
                ),
            ):
                taken = [topic for topic in topics for retain in (False, True) if box.publish(topic, retain=retain)]
                yield Finding(name, fault.format(taken[0]) if taken else "")
                for topic in {*taken}:  # leave nothing behind where it was taken
                    box.publish(topic, b"", retain=True)
            refused = [leaf for leaf in BOX_WRITES if not box.publish(_topic(FIRST, leaf), b"")]
            yield Finding("a box can publish what is its own", f"it is refused on {refused}" if refused else "")

    def _reading(self) -> Iterator[Finding]:
        name = "a box cannot read what is another's"
        with self._probe(CHECK_USER) as center, self._probe(FIRST) as box:
            if not center.connect() or not box.connect():
                yield Finding(name, f"{CHECK_USER} is not let in")
                return
            # retained ones before it subscribes, others after
            sent = [center.publish(_topic(SECOND, leaf), retain=True) for leaf in BOX_READS]
            box.subscribe([f"{ROOT}/#", "#", *(_topic(SECOND, leaf) for leaf in (*BOX_READS, *BOX_WRITES))])
            sent += [center.publish(_topic(SECOND, leaf)) for leaf in BOX_READS]
            with self._probe(SECOND) as other:
                other.connect()
                sent += [other.publish(_topic(SECOND, leaf)) for leaf in BOX_WRITES]
            last = _topic(FIRST, BOX_READS[0])
            center.publish(last)
            arrived = box.wait_received(last)
            time.sleep(SETTLE_S)
            foreign = sorted({topic for topic, _ in box.received if f"/{FIRST}/" not in topic})
            for leaf in BOX_READS:
                center.publish(_topic(SECOND, leaf), b"", retain=True)
        yield Finding(name, f"it read {', '.join(foreign)}; set acl_file" if foreign else "")
        yield Finding(
            "the center can reach a box",
            "" if arrived and all(sent) else "what the center publishes does not arrive; write the ACL anew",
        )

    def _will(self) -> Finding:
        name = "a box cannot leave a last will under another's name"
        topic = _topic(SECOND, "status")
        with self._probe(CHECK_USER) as center, self._probe(FIRST, will=(topic, b"probe")) as box:
            center.connect()
            center.subscribe([topic])
            if not box.connect():
                return Finding(name)
            box.break_line()
            if center.wait_received(topic, 2 * SETTLE_S):
                return Finding(name, "it was published; set acl_file")
        return Finding(name)

    def _large(self) -> Finding:
        name = f"packets of more than {MAX_PACKET_BYTES // 1024} KiB are refused"
        with self._probe(FIRST) as box:
            box.connect()
            taken = box.publish(_topic(FIRST, "health"), bytes(MAX_PACKET_BYTES + 8192))
        return Finding(name, "one was taken; set max_packet_size" if taken else "")


def _topic(box: str, leaf: str) -> str:
    return str(Topic(CHECK_USER, box, leaf, CAMERA if leaf in PER_CAMERA else None))


def _fault(act: Callable[[], object]) -> str:
    try:
        act()
    except BrokerError as fault:
        return str(fault)
    return ""
