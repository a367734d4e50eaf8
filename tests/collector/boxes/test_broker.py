"""Who gets into a real mosquitto, with the configuration that is deployed, and what they can do there."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509

from collector.boxes import broker_files, register
from collector.boxes.authority import Authority, Issued, self_signed
from collector.boxes.broker_files import CHECK_USER, Listener
from collector.boxes.enrolment import Desk
from collector.boxes.probe import Passes, Probe
from collector.boxes.revocation import Lists
from collector.boxes.trial import Trial
from collector.store import Claim
from protocol.broker import BrokerError, BrokerLine, mqtt_client, probe
from protocol.enrolment import EnrolRequest
from protocol.topics import BOX_READS, BOX_WRITES
from tests.collector.boxes.test_enrolment_desk import csr, new_key
from tests.fleet import COLLECTOR, Fleet
from tests.services import ROOT, Broker, Process, free_port, run, wait_for

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto", path="/usr/sbin") is None, reason="needs mosquitto (deploy/setup.sh tools)"
)
SITE, MINE, OTHERS = "xiaohe", "xiaohe-0001", "xiaohe-0002"
CENTER = "cityeye-center-xiaohe"
HOUR_DAYS = 1 / 24


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    with fleet.mosquitto():
        yield fleet
    fleet.store.close()


def at_door(fleet, name, pem=None):
    """Somebody at the broker's door, who says that he is this one."""
    return Probe(fleet.line, fleet.folder, name, pem)


def issued(fleet, passes, name):
    return passes.issue(fleet.authority, name, time.time())[0]


@pytest.fixture
def passes():
    with Passes() as passes:
        yield passes


def show(fleet, passes, what):
    """The PEM file that somebody shows, who says that he is the box MINE."""
    if what == "none":
        return None
    key, now_s = new_key(), time.time()
    authority = fleet.authority
    if what == "of a foreign CA":
        authority = Authority.create(passes.folder / "foreign", "xiaohe", now_s)
    name = OTHERS if what == "another box's" else MINE
    usage = "server" if what == "a server's" else "box"
    days = -0.5 if what == "expired" else HOUR_DAYS
    made = authority.issue(key.public_key(), name, usage, now_s, days)
    if what == "self-made":
        made = Issued(self_signed(key, MINE, now_s))
    if what == "revoked":
        with fleet.store.transaction() as session:
            row = register.record(session, made, "box", MINE, round(now_s * 1000))
            row.revoked_ms = round(now_s * 1000)
        fleet.lists.in_force()
    return passes.keep(key, made.pem)


def comes(fleet, passes, what="good"):
    return at_door(fleet, MINE, show(fleet, passes, what))


@pytest.mark.parametrize(
    ("what", "let_in"),
    [
        ("good", True),
        ("another box's", True),  # as that other box, see below
        *[(what, False) for what in ("none", "self-made", "of a foreign CA", "expired", "revoked", "a server's")],
    ],
)
def test_who_is_let_in(fleet, passes, what, let_in):
    with comes(fleet, passes, what) as somebody:
        assert somebody.connect() is let_in


def topic(box, leaf):
    return f"cityeye/1/{SITE}/{box}/{leaf}" + ("/cam-1" if leaf in ("camera", "incident", "evidence") else "")


@pytest.mark.parametrize(
    ("shown", "where", "taken"),
    [
        *[("good", topic(MINE, leaf), True) for leaf in BOX_WRITES],
        *[("good", topic(MINE, leaf), False) for leaf in BOX_READS],  # its own orders, settings/desired among them
        *[("good", topic(OTHERS, leaf), False) for leaf in (*BOX_WRITES, *BOX_READS)],
        ("another box's", topic(MINE, "incident"), False),
        ("another box's", topic(MINE, "status"), False),
        ("good", f"{topic(MINE, 'camera')}/more", False),
        ("good", "cityeye/1", False),
        ("good", "$SYS/broker/uptime", False),
    ],
)
def test_what_a_box_can_write(fleet, passes, shown, where, taken):
    with comes(fleet, passes, shown) as box:
        assert box.connect()
        assert box.publish(where, b"") is taken
        assert box.publish(where, b"", retain=True) is taken


def test_a_wrong_client_id_takes_nobodys_session(fleet, passes):
    with comes(fleet, passes) as owner, comes(fleet, passes, "another box's") as thief:
        assert owner.connect()
        thief.connect()
        assert not owner.wait_gone(1.0)
        assert owner.publish(topic(MINE, "health"))
        assert not thief.publish(topic(MINE, "health"))


def test_a_box_reads_its_own_and_nothing_else(fleet, passes):
    center = issued(fleet, passes, CENTER)
    with at_door(fleet, "center", center) as center, comes(fleet, passes) as box:
        assert center.connect()
        assert box.connect()
        box.subscribe(["#", *(topic(OTHERS, leaf) for leaf in BOX_READS)])
        for to in (OTHERS, MINE):
            for leaf in BOX_READS:
                assert center.publish(topic(to, leaf))
        assert box.wait_received(topic(MINE, BOX_READS[-1]))
        assert {where for where, _ in box.received} == {topic(MINE, leaf) for leaf in BOX_READS}


def test_a_box_that_joins_a_shared_group_swallows_messages(fleet, passes):
    """Why the collectors' group has a secret name: mosquitto grants what it then does not deliver."""
    names = CHECK_USER, f"{CHECK_USER}-a", f"{CHECK_USER}-b"
    where = f"cityeye/1/{CHECK_USER}/{names[2]}/health"
    with contextlib.ExitStack() as stack:
        center, thief, box = (stack.enter_context(at_door(fleet, name, issued(fleet, passes, name))) for name in names)
        assert all(one.connect() for one in (center, thief, box))
        for probe_ in (center, thief):
            probe_.subscribe([f"$share/known/cityeye/1/{CHECK_USER}/+/health"])
        for number in range(10):
            box.publish(where, str(number).encode())
        center.wait_received(where)
        time.sleep(0.5)
        assert len(center.received) < 10
        assert not thief.received
    with fleet.store.transaction() as session:
        group = register.shared_group(session)
        assert register.shared_group(session) == group
    assert re.fullmatch("[0-9a-f]{32}", group)


def test_the_check_finds_no_fault_in_what_is_deployed_and_leaves_nothing(fleet, passes):
    done = fleet.command("broker", "check")
    lines = done.stdout.splitlines()
    assert len(lines) == 17
    assert all(line.startswith("ok ") for line in lines), done.stdout
    with at_door(fleet, CHECK_USER, issued(fleet, passes, CHECK_USER)) as center:
        assert center.connect()
        center.subscribe([f"cityeye/1/{CHECK_USER}/#"])
        time.sleep(0.5)
        assert not center.received  # no retained message
    # its revoked certificates go with the first list after they have expired
    with fleet.store.transaction() as session:
        _, expired = register.revoked(session, round((time.time() + 3600) * 1000))
        assert expired


MAY = "pattern {} cityeye/1/+/{}"
HOLES = [
    # what is put before the ACL, which lines the ACL and the configuration lose, what is put after that, what is found
    (MAY.format("readwrite", "%u/#"), "", "", ["forge its own orders"]),
    (MAY.format("write", "+/incident/+"), "", "", ["publish as another"]),
    (MAY.format("write", "+/status"), "", "", ["publish as another", "last will under another"]),
    (MAY.format("write", "+/command"), "", "", ["forge orders to another"]),
    (MAY.format("read", "+/settings/desired"), "", "", ["read what is another's"]),
    ("pattern write other", "", "", ["publish elsewhere"]),
    ("", f"user {CHECK_USER}", "", ["the center can reach"]),
    ("", "use_username_as_clientid", "", ["take over another's session"]),
    ("", "crlfile", "", ["revoked certificate"]),
    ("", "max_packet_size", "", ["KiB are refused"]),
    ("", "require_certificate|allow_anonymous|use_", "allow_anonymous true", ["no certificate is refused"]),
    ("", "acl_file", "", ["publish as another", "read what is another's", "forge its own orders", "last will"]),
]


@pytest.mark.parametrize(("allowed", "lost", "more", "found"), HOLES, ids=[" ".join(hole[:2]) for hole in HOLES])
def test_the_check_finds_each_hole(fleet, tmp_path, allowed, lost, more, found):
    port = free_port()
    settings = broker_files.configuration(Listener(tmp_path, port, "127.0.0.1", tmp_path, "root"))
    rights = broker_files.acl([CENTER])

    def without(text):
        return "".join(f"{line}\n" for line in text.splitlines() if not (lost and re.match(lost, line)))

    assert without(settings + rights) != settings + rights or not lost
    (tmp_path / "mosquitto.conf").write_text(f"{without(settings)}{more}\n")
    (tmp_path / "acl").write_text(f"{allowed}\n{without(rights)}")
    for name in ("ca.crt", "server.pem", "crl.pem"):
        shutil.copy(fleet.folder / "broker" / name, tmp_path)
    line = BrokerLine(url=f"mqtts://127.0.0.1:{port}", ca=fleet.line.ca)
    with Process(["/usr/sbin/mosquitto", "-c", tmp_path / "mosquitto.conf"], tmp_path / "log", port) as broker:
        reload = ("kill", "-HUP", str(broker.process.pid))
        lists = Lists(fleet.store, fleet.authority, tmp_path, reload, line, fleet.folder)
        trial = Trial(fleet.authority, line, fleet.folder, lambda: lists.in_force(2.0))
        faults = [finding.name for finding in trial.run() if finding.fault]
    missed = [name for name in found if not any(name in fault for fault in faults)]
    assert not missed, faults


def test_the_check_says_that_no_broker_answers(fleet):
    line = BrokerLine(url=f"mqtts://127.0.0.1:{free_port()}", ca=fleet.folder / "ca" / "ca.crt")
    with pytest.raises(BrokerError, match="is it running"):
        list(Trial(fleet.authority, line, fleet.folder, lambda: None).run())


def test_a_revoked_box_is_out_within_a_minute_also_while_it_is_connected(fleet, passes):
    (claim,) = fleet.claims()
    with fleet.store.transaction() as session:
        now_s = time.time()
        key = new_key()
        made = fleet.authority.issue(key.public_key(), claim.box, "box", now_s, 365)
        register.record(session, made, "box", claim.box, round(now_s * 1000))
        register.find_box(session, claim.box).standing = "enrolled"
    shown = passes.keep(key, made.pem)
    with at_door(fleet, claim.box, shown) as box:
        assert box.connect()
        retained = [topic(claim.box, leaf) for leaf in ("status", "settings/reported")]
        assert all(box.publish(one, b"x", retain=True) for one in retained)
        began_s = time.monotonic()
        done = fleet.command("boxes", "revoke", claim.box)
        assert "its session is closed" in done.stdout
        assert box.wait_gone(5)
        assert time.monotonic() - began_s < 60
    with at_door(fleet, claim.box, shown) as box:
        assert not box.connect()
    with at_door(fleet, "center", issued(fleet, passes, CENTER)) as center:
        assert center.connect()
        center.subscribe(retained)
        assert not any(center.wait_received(one, 0.5) for one in retained)  # what it had retained is gone
    assert f"{claim.box}\txiaohe\trevoked" in fleet.command("boxes", "list").stdout


def test_a_box_set_up_anew_ends_the_session_before(fleet, passes):
    desk = Desk(fleet.store, fleet.authority, fleet.line.url, 365, time.time, fleet.lists)
    (claim,) = fleet.claims()

    def enrolled(code):
        key = new_key()
        return passes.keep(key, desk.enrol(EnrolRequest(claim=code, csr=csr(key))).certificate)

    old = enrolled(claim.code)
    with at_door(fleet, claim.box, old) as thief:
        assert thief.connect()
        with fleet.store.writing() as session:
            again = register.renew_claim(session, claim.box, 30, round(time.time() * 1000))
        new = enrolled(again.code)
        assert thief.wait_gone(60)
    with at_door(fleet, claim.box, old) as thief:
        assert not thief.connect()
    with at_door(fleet, claim.box, new) as box:
        assert box.connect()
        assert not box.wait_gone(2)


def test_a_revocation_that_no_broker_hears_of_is_said(fleet):
    for reload, words in (((), "still lets in what was revoked"), (("false",), "was not told"), (("none",), "was not")):
        lists = Lists(fleet.store, fleet.authority, fleet.folder / "broker", reload, fleet.line, fleet.folder)
        with pytest.raises(BrokerError, match=words):
            lists.in_force(1.5)


def test_what_was_revoked_stays_so_without_the_database(fleet, tmp_path, passes):
    shown = show(fleet, passes, "revoked")
    with fleet.store.transaction() as session:
        for row in session.query(register.CertificateRow).where(register.CertificateRow.name == MINE):
            session.delete(row)
    fleet.lists.in_force()
    with at_door(fleet, MINE, shown) as box:
        assert not box.connect()


def test_a_renewed_certificate_is_used_at_the_next_connection(fleet, passes):
    """The same client, with a pair of files that is exchanged under it; the old certificate is revoked meanwhile."""
    old = show(fleet, passes, "good")
    path = passes.folder / "box.pem"
    path.write_bytes(old.read_bytes())
    line = BrokerLine(url=fleet.line.url, ca=fleet.line.ca, cert=path, key=path)
    client = mqtt_client(line, fleet.folder, MINE)
    connected = []
    client.on_connect = lambda *arguments: connected.append(str(arguments[3]))
    host, port = line.address
    client.reconnect_delay_set(1, 1)
    client.connect_async(host, port, keepalive=20)
    client.loop_start()
    try:
        wait_for(lambda: connected == ["Success"], "it is in")
        path.write_bytes(show(fleet, passes, "good").read_bytes())
        show(fleet, passes, "revoked")  # of another key: only that the list changes
        with at_door(fleet, MINE, old) as other:  # throws it off
            assert other.connect()
        wait_for(lambda: connected == ["Success"] * 2, "it is in again")
    finally:
        client.disconnect()
        client.loop_stop()
    path.write_bytes(show(fleet, passes, "expired").read_bytes())
    with pytest.raises(BrokerError, match=r"expired|closed the line"):
        probe(line, fleet.folder, MINE)
    path.write_bytes(show(fleet, passes, "revoked").read_bytes())
    with pytest.raises(BrokerError, match=r"revoked"):
        probe(line, fleet.folder, MINE)


def test_one_more_collector_has_a_name_and_rights_of_its_own(fleet, passes):
    out = passes.folder / "second.pem"
    fleet.command("broker", "collector", "second", "--out", out)
    assert "user cityeye-center-xiaohe-second" in (fleet.folder / "broker" / "acl").read_text()
    time.sleep(0.5)
    with at_door(fleet, "x", out) as collector:
        assert collector.connect()
        assert collector.publish(topic(MINE, "ack"))
        assert not collector.publish(topic(MINE, "incident"))


def init(folder, name):
    settings = folder / "center.toml"
    settings.write_text('version = 1\n[center]\nid = "x"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n')
    return run(COLLECTOR, "init", "--name", name, "--settings", settings)


def test_a_bad_name_leaves_nothing_half_made(tmp_path):
    for name in ("no host", "", "a" * 300):
        done = init(tmp_path, name)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "expected a host's name" in done.stderr
    assert not (tmp_path / "ca").exists()


def test_the_broker_reads_its_folder_under_any_umask_and_others_no_data(tmp_path):
    before = os.umask(0o077)
    try:
        assert init(tmp_path, "127.0.0.1").returncode == 0
    finally:
        os.umask(before)
    assert (tmp_path / "broker").stat().st_mode & 0o777 == 0o755
    closed = {path.name for path in (tmp_path / "broker").iterdir() if not path.stat().st_mode & 0o004}
    assert closed == {"server.pem"}


def test_init_is_done_once_and_renews_all_but_the_ca(fleet):
    def ca():
        return {path.name: path.read_bytes() for path in (fleet.folder / "ca").iterdir()}

    before = ca()
    again = fleet.command("init", "--name", "127.0.0.1", fails=True)
    assert again.returncode == 2
    assert "not overwritten" in again.stderr
    assert ca() == before
    fleet.command("init", "--renew", "--name", "127.0.0.1")
    after = ca()
    assert {name for name in before if before[name] != after[name]} == {"collector.pem", "server.pem"}
    # the broker has a certificate of its own, and reads it again
    assert (fleet.folder / "broker" / "server.pem").read_bytes() != after["server.pem"]

    def shown():
        """What the broker shows, before it asks who is there."""
        context = ssl.create_default_context(cafile=str(fleet.line.ca))
        with (
            socket.create_connection(fleet.line.address) as line,
            context.wrap_socket(line, server_hostname="127.0.0.1") as tls,
        ):
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))

    kept = x509.load_pem_x509_certificate((fleet.folder / "broker" / "server.pem").read_bytes())
    wait_for(lambda: shown() == kept, "the broker shows its new certificate")
    pair = fleet.folder / "ca" / "collector.pem"
    line = BrokerLine(url=fleet.line.url, ca=fleet.line.ca, cert=pair, key=pair)
    assert "answers" in probe(line, fleet.folder, "x")
    done = fleet.command("check", fails=True)
    assert "own certificates are good until" in done.stdout


def test_what_is_deployed_is_what_is_written_here():
    folder = ROOT / "deploy" / "broker"
    where = Listener(broker_files.DEPLOYED)
    assert (folder / "mosquitto.conf").read_text() == broker_files.configuration(where), "run: make docs"
    assert (folder / "acl").read_text() == broker_files.acl(["cityeye-center-CENTER"]), "run: make docs"


def test_the_demos_broker_binds_to_loopback_only(tmp_path):
    with Broker("iotcore", tmp_path) as broker:
        listening = [Path(f"/proc/net/{name}").read_text().splitlines() for name in ("tcp", "tcp6")]
        # local address, then remote address, then the state: 0A listens
        columns = [line.split()[1:4] for lines in listening for line in lines]
        bound = [local for local, _, state in columns if state == "0A" and local.endswith(f":{broker.port:04X}")]
    assert bound == [f"0100007F:{broker.port:04X}"]


def test_a_box_that_a_restored_database_expects_is_admitted(fleet):
    (claim,) = fleet.claims()
    done = fleet.command("boxes", "admit", claim.box, "--site", "xiaohe")
    assert "taken up" in done.stdout
    with fleet.store.transaction() as session:
        assert register.find_box(session, claim.box).standing == "enrolled"
        (row,) = session.query(Claim).where(Claim.box_id == claim.box)
        assert row.expires_ms <= time.time() * 1000
    assert fleet.command("boxes", "admit", "cityeye-center-x", "--site", "xiaohe", fails=True).returncode == 2
