"""A box becomes one of a center's and stays it: real commands, real TLS, a clock that the test moves."""

import json
import re
import shutil
import socket
import stat
import time
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from agent.box.enrolment import SPREAD, TRY_AGAIN_S, EnrolmentError, Lifetime, Membership, Renewal, enrol
from agent.box.twin import write_twice
from agent.settings import load_settings
from collector.boxes import register
from collector.boxes.authority import Authority, private_pem, write_secret
from collector.boxes.door import Door
from collector.boxes.enrolment import Desk
from protocol.documents import SettingsError
from protocol.enrolment import Invitation, make_claim
from tests import boxes
from tests.fleet import AGENT, COLLECTOR, Fleet
from tests.services import Process, free_port, run, wait_for

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto", path="/usr/sbin") is None, reason="needs mosquitto (deploy/setup.sh tools)"
)
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    with fleet.mosquitto():
        yield fleet
    fleet.store.close()


class LossyDesk(Desk):
    """Loses its answer, after it has committed."""

    lose = False

    def enrol(self, request):
        answer = super().enrol(request)
        if self.lose:
            raise ConnectionResetError
        return answer

    def renew(self, request, serial):
        answer = super().renew(request, serial)
        if self.lose:
            raise ConnectionResetError
        return answer


@pytest.fixture
def door(fleet):
    """The enrolment without the rest of the collector; its clock and its answers are the test's."""
    fleet.now_s = time.time()
    desk = LossyDesk(fleet.store, fleet.authority, fleet.line.url, 365, lambda: fleet.now_s)
    door = Door(("127.0.0.1", fleet.door_port), desk, fleet.authority.pem, fleet.folder / "ca")
    door.start()
    yield door
    door.stop()


def files(state):
    """What is there beside the copies."""
    names = sorted(path.name for path in (state / "center").iterdir())
    kept = [name for name in names if not name.endswith(".copy")]
    assert set(names) - set(kept) == {f"{name}.copy" for name in kept if name != "pending.key"}
    return kept


def certificate(state):
    return x509.load_pem_x509_certificate((state / "center" / "box.pem").read_bytes())


def test_the_whole_way_with_real_commands(fleet, tmp_path):
    """init, boxes add, serve, enrol, run, revoke: what the guides say."""
    codes = tmp_path / "codes.csv"
    fleet.command("boxes", "add", "--site", "beishan", "--count", "2", "--csv", codes)
    assert stat.S_IMODE(codes.stat().st_mode) == 0o600
    again = fleet.command("boxes", "add", "--site", "beishan", "--csv", codes, fails=True)
    assert (again.returncode, len(codes.read_text().splitlines())) == (2, 3)  # they are shown once
    label = codes.read_text().splitlines()[1].rpartition(",")[2]
    box = tmp_path / "box"
    box.mkdir()
    serve = [COLLECTOR, "serve", "--settings", fleet.settings]
    with Process(serve, tmp_path / "collector.log", fleet.page_port) as collector:
        done = run(AGENT, "enrol", label, "--settings", box / "box.toml")
        assert done.returncode == 0, done.stderr
        assert "enrolled: box beishan-0001 at site beishan" in done.stdout
        assert re.search("ok +center: .* answers", done.stdout)
        assert stat.S_IMODE((box / "state" / "center" / "box.pem").stat().st_mode) == 0o600
        assert files(box / "state") == ["box.pem", "ca.crt", "center.json"]
        config = load_settings(box / "box.toml")
        assert (config.settings.box.id, config.settings.box.site) == ("beishan-0001", "beishan")
        looked = run(AGENT, "doctor", "--settings", box / "box.toml", "--out", box / "report.json")
        assert looked.returncode == 0, looked.stdout
        for line in ("clock: [+-][0-2] s from the center's", "certificate: good for 36[45] days", "center: .* answers"):
            assert re.search(f"ok +{line}", looked.stdout), looked.stdout
        assert json.loads((box / "report.json").read_text())["findings"]
        # a second box with the same label gets nothing
        (tmp_path / "thief").mkdir()
        stolen = run(AGENT, "enrol", label, "--settings", tmp_path / "thief" / "box.toml")
        assert stolen.returncode == 2
        assert "was used already" in stolen.stderr
        assert not (tmp_path / "thief" / "box.toml").exists()
        with Process([AGENT, "run", "--settings", box / "box.toml"], tmp_path / "agent.log") as agent:
            wait_for(lambda: "connected to" in agent.text(), "the box is in", 30)
            line = "beishan-0001\tbeishan\tenrolled\tonline"
            wait_for(lambda: line in fleet.command("boxes", "list").stdout, "it is heard")
            fleet.command("boxes", "revoke", "beishan-0001")
            wait_for(lambda: "broke" in agent.text(), "it is thrown off")
            assert agent.stop() == 0
        text = collector.text()
        assert "box beishan-0001: enrolled" in text
        assert label.partition("claim=")[2][:20] not in text
        assert collector.stop() == 0


def test_typed_by_hand_with_half_of_the_fingerprint(fleet, door, tmp_path):
    (claim,) = fleet.claims()
    pin = fleet.authority.fingerprint[:32]
    spaced = " ".join(pin[start : start + 4] for start in range(0, 32, 4))
    arguments = ["--url", f"https://127.0.0.1:{fleet.door_port}", "--claim", claim.code.lower()]
    done = run(AGENT, "enrol", *arguments, "--ca-fingerprint", spaced, "--settings", tmp_path / "box.toml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected the text of the label"),
        (["https://127.0.0.1:1/"], "is missing"),
        (["--url", "https://127.0.0.1:1", "--claim", "ABC", "--ca-fingerprint", "0" * 32], "18 letters"),
        (["--url", "https://127.0.0.1:1", "--claim", make_claim(), "--ca-fingerprint", "00"], "sha256"),
        (["--url", "https://127.0.0.1:1", "--claim", make_claim(), "--ca-fingerprint", "0" * 32], "try again"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, arguments, words):
    done = run(AGENT, "enrol", *arguments, "--settings", tmp_path / "box.toml")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_center_that_is_not_the_one_on_the_label_learns_nothing(fleet, door, tmp_path):
    """Somebody in between has a CA of his own and forwards nothing."""
    (claim,) = fleet.claims()
    label = Invitation(f"https://127.0.0.1:{fleet.door_port}", claim.code, "f" * 64, claim.box)
    asked = []
    door.desk.enrol = asked.append
    with pytest.raises(EnrolmentError, match="nothing was sent"):
        enrol(tmp_path, label, "1")
    assert asked == []


def test_a_foreign_server_that_shows_the_right_ca_learns_nothing(fleet, door, tmp_path):
    """It can hand out our CA's certificate, which is public, but not prove a name with it."""
    theirs = Authority.create(tmp_path / "ca", "xiaohe", time.time())
    key = ec.generate_private_key(ec.SECP256R1())
    issued = theirs.issue(key.public_key(), "cityeye-server", "server", time.time(), 1, ("127.0.0.1",))
    write_secret(tmp_path / "ca" / "server.pem", private_pem(key) + issued.pem.encode())
    asked = []
    desk = door.desk
    port = free_port()
    between = Door(("127.0.0.1", port), desk, fleet.authority.pem, tmp_path / "ca")
    desk.enrol = asked.append
    between.start()
    try:
        label = Invitation(f"https://127.0.0.1:{port}", make_claim(), fleet.authority.fingerprint)
        with pytest.raises(EnrolmentError, match="expected the center's certificate"):
            enrol(tmp_path / "state", label, "1")
    finally:
        between.stop()
    assert asked == []


@pytest.mark.parametrize("again_after_s", [0.0, 3600.0])
def test_an_answer_that_was_lost_burns_no_code(fleet, door, tmp_path, again_after_s):
    """The center has committed, the box was cut off before it heard: the same label works again, on this box only."""
    (claim,) = fleet.claims()
    label = fleet.invitation(claim)
    door.desk.lose = True
    with pytest.raises(EnrolmentError, match="try again with the same label"):
        enrol(tmp_path / "a", label, "1")
    assert Membership.load(tmp_path / "a") is None
    door.desk.lose = False
    fleet.now_s += again_after_s
    with pytest.raises(EnrolmentError, match="was used already"):
        enrol(tmp_path / "b", label, "1")
    assert enrol(tmp_path / "a", label, "1").box == claim.box
    assert certificate(tmp_path / "a").subject.rfc4514_string() == f"CN={claim.box}"


def test_a_box_that_is_somebody_already_does_not_spend_anothers_label(fleet, door, tmp_path):
    first, second = fleet.claims(2)
    enrol(tmp_path, fleet.invitation(first), "1")
    with pytest.raises(EnrolmentError, match=f"this box is {first.box} already"):
        enrol(tmp_path, fleet.invitation(second), "1")
    # typed by hand, where the box's id is not on it: the center says so, and the code is not used
    typed = Invitation(fleet.invitation(second).url, second.code, fleet.authority.fingerprint)
    with pytest.raises(EnrolmentError, match=f"this one is of {second.box}"):
        enrol(tmp_path, typed, "1")
    assert enrol(tmp_path / "other", typed, "1").box == second.box


def test_settings_take_identity_and_line_from_the_enrolment(fleet, door, tmp_path):
    (claim,) = fleet.claims()
    enrol(tmp_path / "state", fleet.invitation(claim), "1")
    path = tmp_path / "box.toml"
    ours = str(tmp_path / "state" / "center" / "box.pem")
    for text, url, cert in (
        ("version = 1\n[box]\n", fleet.line.url, ours),
        ('version = 1\n[box]\n[center]\nurl = "mqtt://127.0.0.1:1883"\n', fleet.line.url, ours),
        ('version = 1\n[box]\n[center]\nurl = "mqtts://other:1"\nca = "x"\n', "mqtts://other:1", ours),
        ('version = 1\n[center]\nurl="mqtts://o"\nca="a"\ncert="c"\nkey="k"\n', "mqtts://o", "c"),
        (f'version = 1\n[box]\nid = "{claim.box}"\n', fleet.line.url, ours),
    ):
        path.write_text(text)
        settings = load_settings(path).settings
        assert (settings.box.id, settings.box.site) == (claim.box, "xiaohe")
        assert (settings.center.url, str(settings.center.cert)) == (url, cert)
    path.write_text('version = 1\n[box]\nid = "box-0001"\nsite = "s"\n')
    with pytest.raises(SettingsError, match=f"enrolled as id '{claim.box}', got 'box-0001'"):
        load_settings(path)
    member = tmp_path / "state" / "center" / "center.json"
    member.write_text("{}")
    with pytest.raises(SettingsError, match="enrolled as id"):  # it is mended from its copy
        load_settings(path)
    write_twice(member, b"{}")
    with pytest.raises(SettingsError, match="it is damaged"):
        load_settings(path)
    shutil.rmtree(tmp_path / "state")
    assert load_settings(boxes.settings(tmp_path)).settings.center is None


class Times:
    """A clock that is moved by hand, on the box and at the center."""

    def __init__(self, fleet, state):
        self.fleet = fleet
        lifetime = Lifetime.of(state / "center" / "box.pem")
        self.length_s = lifetime.ends_s - lifetime.begins_s
        self.began_s = self.now_s = lifetime.begins_s
        self.monotonic_s = 0.0

    def to(self, share):
        self.now_s = self.fleet.now_s = self.began_s + share * self.length_s


@contextmanager
def enrolled(fleet, state, jitter=0.5):
    (claim,) = fleet.claims()
    enrol(state, fleet.invitation(claim), "1")
    times = Times(fleet, state)
    renewal = Renewal(state, "1", lambda: times.now_s, lambda: times.monotonic_s, lambda: jitter)
    yield claim, times, renewal


def tend(renewal):
    renewal.tend()
    renewal.wait(10)


def test_a_certificate_is_renewed_by_itself_at_two_thirds_of_its_life(fleet, door, tmp_path):
    with enrolled(fleet, tmp_path) as (_, times, renewal):
        first = certificate(tmp_path)
        for share in (0, 0.3, 2 / 3 + SPREAD * 0.49):
            times.to(share)
            tend(renewal)
            assert certificate(tmp_path) == first
        times.to(2 / 3 + SPREAD * 0.51)
        tend(renewal)
        second = certificate(tmp_path)
        assert second.serial_number != first.serial_number
        assert second.public_key() != first.public_key()
        assert second.subject == first.subject
        assert second.not_valid_after_utc.timestamp() == pytest.approx(times.now_s + 365 * DAY_S, abs=2)
        assert files(tmp_path) == ["box.pem", "ca.crt", "center.json"]
        # and then not for a long time
        times.monotonic_s += 10 * TRY_AGAIN_S
        times.now_s += 30 * DAY_S
        tend(renewal)
        assert certificate(tmp_path) == second


def test_a_renewal_that_fails_is_tried_again_after_an_hour_or_two_and_said_once(fleet, door, tmp_path, caplog):
    with enrolled(fleet, tmp_path) as (_, times, renewal):
        first = certificate(tmp_path)
        times.to(0.8)
        door.desk.lose = True
        tend(renewal)
        for _ in range(50):
            times.monotonic_s += 5
            tend(renewal)
        assert caplog.text.count("not renewed yet") == 1
        assert certificate(tmp_path) == first
        door.desk.lose = False
        times.monotonic_s += 2 * TRY_AGAIN_S
        tend(renewal)
        # the one that the center had made already, as its key is the same
        assert certificate(tmp_path).serial_number != first.serial_number
        assert not (tmp_path / "center" / "pending.key").exists()


def test_a_box_that_was_put_out_is_told_so_and_goes_on_with_what_it_has(fleet, door, tmp_path, caplog):
    with enrolled(fleet, tmp_path) as (claim, times, renewal):
        with fleet.store.transaction() as session:
            register.put_out(session, claim.box, "revoked", round(times.now_s * 1000))
        times.to(0.9)
        tend(renewal)
        assert "was put out of this center" in caplog.text
        assert certificate(tmp_path).subject.rfc4514_string() == f"CN={claim.box}"


def test_a_box_that_was_never_enrolled_renews_nothing(tmp_path):
    renewal = Renewal(tmp_path, "1", lambda: 9e9, lambda: 0.0)
    tend(renewal)
    assert not (tmp_path / "center").exists()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"[]"),
        (200, b'{"certificate": "-----BEGIN x", "ca": "-----BEGIN x", "broker_url": "x", "box": "B", "site": "s"}'),
        (403, b"<html>"),
        (500, b"\xff"),
    ],
)
def test_an_answer_that_makes_no_sense_is_said(tmp_path, monkeypatch, fleet, status, body):
    answers = {"/ca": (200, fleet.authority.pem.encode()), "/enrol": (status, body)}
    monkeypatch.setattr("agent.box.enrolment._exchange", lambda *request: answers[request[2]])
    label = Invitation("https://127.0.0.1:1", make_claim(), fleet.authority.fingerprint)
    with pytest.raises(EnrolmentError, match="makes no sense"):
        enrol(tmp_path, label, "1")


def test_a_certificate_for_somebody_else_is_not_kept(fleet, door, tmp_path, monkeypatch):
    first, second = fleet.claims(2)
    enrol(tmp_path / "a", fleet.invitation(first), "1")
    foreign = certificate(tmp_path / "a")
    real = door.desk.enrol
    pem = foreign.public_bytes(Encoding.PEM).decode()
    door.desk.enrol = lambda request: real(request).model_copy(update={"certificate": pem})
    with pytest.raises(EnrolmentError, match="got another"):
        enrol(tmp_path / "b", fleet.invitation(second), "1")
    assert Membership.load(tmp_path / "b") is None


def test_a_box_killed_while_it_enrols_can_enrol_again(fleet, tmp_path):
    """SIGKILL while it waits for the answer."""
    (claim,) = fleet.claims()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        label = Invitation(address, claim.code, fleet.authority.fingerprint, claim.box)
        with Process([AGENT, "enrol", str(label), "--settings", tmp_path / "box.toml"], tmp_path / "log") as agent:
            listener.settimeout(20)
            with listener.accept()[0]:
                agent.kill()
    desk = Desk(fleet.store, fleet.authority, fleet.line.url, 365, time.time)
    door = Door(("127.0.0.1", fleet.door_port), desk, fleet.authority.pem, fleet.folder / "ca")
    door.start()
    try:
        assert enrol(tmp_path / "state", fleet.invitation(claim), "1").box == claim.box
    finally:
        door.stop()
