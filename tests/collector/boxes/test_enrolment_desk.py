"""Claims: once, in time, not too often; over real TLS where that matters; and the labels they stand on."""

import contextlib
import csv
import http.client
import io
import json
import random
import shutil
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_until_done
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import sync_playwright
from sqlalchemy import select

from collector.boxes import labels, register
from collector.boxes.authority import Authority, private_pem, write_secret
from collector.boxes.door import CONNECTIONS, TIMEOUT_S, Door
from collector.boxes.enrolment import MAX_ATTEMPTS, DeniedError, Desk
from collector.boxes.limits import IN_ALL, PER_ADDRESS, WINDOW_S, RateLimit
from collector.boxes.register import NewClaim, RegisterError
from collector.boxes.revocation import Lists
from collector.store import Box, CameraRow, CertificateRow, Claim, open_store
from protocol.broker import BrokerLine
from protocol.enrolment import MAX_BODY_BYTES, EnrolRequest, Invitation, RenewRequest, make_claim
from tests import incidents
from tests.incidents import Case
from tests.services import free_port, wait_for

NOW_S = time.time()
NOW_MS = round(NOW_S * 1000)
DAY_S = 86_400.0
BROKER = "mqtts://center.example:8883"


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def csr(key):
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def serial(enrolled):
    return f"{x509.load_pem_x509_certificate(enrolled.certificate.encode()).serial_number:x}"


class Office:
    """A desk whose clock the test moves."""

    def __init__(self, folder, url=None):
        self.folder = folder
        self.now_s = NOW_S
        self.store = open_store(url or f"sqlite:///{folder / 'center.db'}")
        self.authority = Authority.create(folder / "ca", "xiaohe", NOW_S)
        self.lists = Lists(
            self.store, self.authority, folder, (), BrokerLine(url="mqtt://127.0.0.1"), folder, lambda: self.now_s
        )
        self.thrown_off = []
        self.lists.throw_off = self.thrown_off.append  # there is no broker
        self.desk = Desk(self.store, self.authority, BROKER, 365, lambda: self.now_s, self.lists)

    def do(self, what, *args):
        with self.store.writing() as session:
            return what(session, *args)

    def all(self, column):
        return self.do(lambda session: session.scalars(select(column)).all())

    def claims(self, count=1, days=30.0):
        return self.do(register.add_boxes, "xiaohe", "xiaohe", count, days, NOW_MS)

    def enrol(self, claim, key, box=None):
        return self.desk.enrol(EnrolRequest(claim=claim, csr=csr(key), box=box))

    def denial(self, claim, key, box=None):
        with pytest.raises(DeniedError) as caught:
            self.enrol(claim, key, box)
        return caught.value.code

    def enrolled(self):
        """The claim of a box that has used it, and what it got."""
        (claim,) = self.claims()
        return claim, self.enrol(claim.code, new_key())

    def renew(self, enrolled, key=None):
        return self.desk.renew(RenewRequest(csr=csr(key or new_key())), serial(enrolled))

    def refused(self, enrolled, match, key=None):
        with pytest.raises(DeniedError, match=match):
            self.renew(enrolled, key)

    def box(self, box):
        return self.do(lambda session: session.get(Box, box))


def put_out(office, box):
    office.do(register.put_out, box, "revoked", NOW_MS)


@pytest.fixture(params=["sqlite", "postgresql"])
def office(request, tmp_path):
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create(request.getfixturevalue("template"))
    office = Office(tmp_path, url)
    yield office
    office.store.close()


def test_boxes_are_numbered_on_and_codes_kept_as_hashes(office):
    first, second = office.claims(2)
    (third,) = office.claims()
    assert [one.box for one in (first, second, third)] == ["xiaohe-0001", "xiaohe-0002", "xiaohe-0003"]
    with office.store.transaction() as session:
        kept = {value for row in session.execute(select(Claim.__table__)) for value in row if isinstance(value, str)}
    assert kept == {
        *(register.code_sha256(one.code) for one in (first, second, third)),
        *("xiaohe-0001", "xiaohe-0002", "xiaohe-0003"),
    }


@pytest.mark.parametrize(("site", "prefix"), [("Xiaohe", "x"), ("x", "cityeye-center"), ("x", "x" * 60), ("x\n", "x")])
def test_bad_names_are_refused(office, site, prefix):
    with pytest.raises(RegisterError):
        office.do(register.add_boxes, site, prefix, 1, 30, NOW_MS)


def test_a_claim_gives_the_certificate_of_its_box(office):
    (claim,) = office.claims()
    key = new_key()
    answer = office.enrol(claim.code.lower().replace("-", " "), key)
    certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
    got = (answer.box, answer.site, answer.broker_url, answer.ca)
    assert got == ("xiaohe-0001", "xiaohe", BROKER, office.authority.pem)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=xiaohe-0001"
    assert office.box("xiaohe-0001").standing == "enrolled"


def test_a_code_works_once_and_again_for_the_same_key(office):
    (claim,) = office.claims()
    key = new_key()
    first = office.enrol(claim.code, key)
    assert office.enrol(claim.code, key) == first  # its answer was lost
    assert office.denial(claim.code, new_key()) == "used"
    office.now_s += 30 * DAY_S
    assert office.denial(claim.code, key) == "expired"


def test_of_two_at_once_with_one_code_one_gets_it(office):
    (claim,) = office.claims()
    keys = [new_key() for _ in range(6)]

    def attempt(key):
        try:
            return office.enrol(claim.code, key).certificate
        except DeniedError as fault:
            assert fault.code in ("used", "busy")  # noqa: PT017 - most are denied
            return None

    with ThreadPoolExecutor(6) as pool:
        got = [one for one in pool.map(attempt, keys) if one is not None]
    assert len(got) == 1
    assert len(office.all(CertificateRow)) == 1


def test_tries_with_a_code_are_counted_and_end(office):
    (claim,) = office.claims()
    key = new_key()
    for _ in range(MAX_ATTEMPTS):
        assert office.denial(claim.code, key, "xiaohe-0009") == "wrong_box"
    assert office.denial(claim.code, key) == "locked"


def test_an_unknown_code_and_a_mistyped_one_are_told_apart(office):
    (claim,) = office.claims()
    assert office.denial(make_claim(), new_key()) == "unknown_claim"
    assert office.denial(claim.code[:-1] + ("2" if claim.code[-1] != "2" else "3"), new_key()) == "invalid"


def test_a_renewal_gives_a_new_certificate_and_the_old_stays_good(office):
    _, first = office.enrolled()
    office.now_s += 250 * DAY_S
    key = new_key()
    second = office.renew(first, key)
    until = x509.load_pem_x509_certificate(second.certificate.encode()).not_valid_after_utc
    assert until.timestamp() == pytest.approx(office.now_s + 365 * DAY_S, abs=1)
    assert office.renew(first, key) == second  # its answer was lost
    office.refused(first, "one renewal an hour")
    office.now_s += 3700
    assert office.renew(first).box == "xiaohe-0001"


def test_who_is_put_out_gets_nothing_more(office):
    claim, first = office.enrolled()
    put_out(office, claim.box)
    office.refused(first, "put out")
    assert office.denial(claim.code, new_key()) == "revoked"
    with pytest.raises(RegisterError, match="it is revoked"):
        office.do(register.renew_claim, "xiaohe-0001", 30, NOW_MS)


@pytest.mark.parametrize("what", ["enrol", "renew"])
def test_who_is_put_out_while_a_certificate_is_made_has_none(office, what):
    (claim,) = office.claims()
    first = office.enrol(claim.code, new_key()) if what == "renew" else None
    office.now_s += 7200
    issue, revoking = office.authority.issue, []

    def issue_slowly(*arguments):
        revoking.append(pool.submit(put_out, office, claim.box))
        wait_until_done(revoking, 1.0)  # done by then, or it waits for this one
        return issue(*arguments)

    office.authority.issue = issue_slowly
    with ThreadPoolExecutor(1) as pool:
        if first is None:
            office.enrol(claim.code, new_key())
        else:
            office.renew(first)
        revoking[0].result(20)
    assert office.box(claim.box).standing == "revoked"
    assert None not in office.all(CertificateRow.revoked_ms)


def test_two_that_write_the_list_at_once_lose_no_revocation(office):
    claims = office.claims(2)
    enrolled = [office.enrol(claim.code, new_key()) for claim in claims]
    put_out(office, claims[0].box)
    sign, writing = office.authority.revocations, []

    def put_out_and_write():
        put_out(office, claims[1].box)
        office.lists.write()

    def sign_slowly(*arguments):
        office.authority.revocations = sign
        writing.append(pool.submit(put_out_and_write))
        wait_until_done(writing, 1.0)
        return sign(*arguments)

    office.authority.revocations = sign_slowly
    with ThreadPoolExecutor(1) as pool:
        office.lists.write()
        writing[0].result(20)
    assert office.lists.listed().keys() == {serial(one) for one in enrolled}


def test_a_certificate_of_the_center_renews_no_box(office):
    key = new_key()
    issued = office.authority.issue(key.public_key(), "cityeye-center-xiaohe", "collector", NOW_S, 1)
    office.do(register.record, issued, "collector", "cityeye-center-xiaohe", NOW_MS)
    for pem in (issued.pem, office.authority.pem):
        office.refused(SimpleNamespace(certificate=pem), "no box of this center", key)


def test_a_new_claim_for_a_known_box_ends_the_old_one(office):
    (old,) = office.claims()
    new = office.do(register.renew_claim, old.box, 30, NOW_MS)
    assert office.denial(old.code, new_key()) == "expired"
    assert office.enrol(new.code, new_key()).box == old.box


def test_a_claim_with_another_key_ends_older_certificates(office):
    (claim,) = office.claims()
    key = new_key()
    first = office.enrol(claim.code, key)
    assert not (office.folder / "crl.pem").exists()
    for mine, ended in ((key, False), (new_key(), True)):
        again = office.do(register.renew_claim, claim.box, 30, round(office.now_s * 1000))
        latest = office.enrol(again.code, mine)
        assert office.enrol(again.code, mine) == latest
        assert (office.folder / "crl.pem").exists() == ended
        office.now_s += 3700
    wait_for(lambda: office.thrown_off == [claim.box], "whoever is in with the older one is thrown off, once")
    assert serial(first) in office.lists.listed()
    assert serial(latest) not in office.lists.listed()
    office.refused(first, "revoked")
    assert office.renew(latest).box == claim.box


def test_a_restored_database_renews_nothing_that_was_refused(office):
    claim, first = office.enrolled()
    put_out(office, claim.box)
    assert office.box(claim.box).state == "offline"
    assert office.lists.catch_up()
    assert not office.lists.catch_up()
    with office.store.transaction() as session:  # as of before the revocation
        session.get_one(Box, claim.box).standing = "enrolled"
        session.get_one(CertificateRow, serial(first)).revoked_ms = None
    office.refused(first, "was revoked")
    (office.folder / "crl.pem").write_text("damaged")
    office.refused(first, "cannot read")


def camera(box, name="cam-1"):
    return CameraRow(box_id=box, camera=name, state="live", since_ms=1, text="", restarts=0)


def test_a_box_is_replaced_with_its_cameras(office):
    old, new, third = office.claims(3)
    office.enrol(old.code, new_key())
    office.do(lambda session: session.add_all([camera(old.box), camera(old.box, "cam-2")]))
    moved = []
    office.do(register.replace, old.box, new.box, NOW_MS, [lambda _, *pair: moved.append(pair)])
    assert moved == [(old.box, new.box)]
    assert {(row.box_id, row.camera) for row in office.all(CameraRow)} == {(new.box, "cam-1"), (new.box, "cam-2")}
    assert office.all(CertificateRow.revoked_ms) == [NOW_MS]
    gone = office.box(old.box)
    assert (gone.standing, gone.replaced_by) == ("replaced", new.box)
    for pair in ((old.box, third.box), (third.box, new.box), (third.box, old.box), (third.box, third.box)):
        with pytest.raises(RegisterError):
            office.do(register.replace, *pair, NOW_MS)
    assert office.enrol(new.code, new_key()).box == new.box


def test_with_a_ca_the_inbox_takes_only_who_is_enrolled(desk):
    case = Case()
    assert desk.take(incidents.status()) == (["x"], [], [])  # a center without a CA takes up boxes as they come
    with desk.store.transaction() as session:
        session.add(
            CertificateRow(serial="1", usage="ca", name="x", key_sha256="", issued_ms=1, not_after_ms=2, pem="")
        )
        register.add_boxes(session, "s", "box", 2, 30, NOW_MS)
    # the guest of before stays, a stranger and one that is still expected may come again
    assert desk.take(case.opened())[0] == [f"{case.id}:1"]
    for number, name in ((2, "stranger"), (3, "box-0002")):
        other = Case(number=number, box=name)
        assert desk.take(other.opened()) == ([], [], [f"{other.id}:1"])
    assert desk.get(Box, "stranger") is None
    desk.read(register.put_out, "box-1", "revoked", NOW_MS)
    assert desk.take(case.updated(case.opened_s + 60)) == ([], ["revoked"], [])


def test_failures_are_limited_by_address_and_in_all():
    clock = [0.0]
    failures = RateLimit(lambda: clock[0])
    for _ in range(PER_ADDRESS):
        assert failures.wait_s("10.0.0.1") == 0
        failures.count("10.0.0.1")
    assert failures.wait_s("10.0.0.1") == WINDOW_S
    assert failures.wait_s("::ffff:10.0.0.1") == WINDOW_S
    assert failures.wait_s("10.0.0.2") == 0
    for number in range(PER_ADDRESS):  # a subscriber has a whole /64
        failures.count(f"2001:db8::{number}")
    assert failures.wait_s("2001:db8::ffff") == WINDOW_S
    assert failures.wait_s("2001:db8:0:1::1") == 0
    clock[0] = WINDOW_S
    assert failures.wait_s("10.0.0.1") == 0
    for number in range(IN_ALL):
        failures.count(f"10.1.{number // 250}.{number % 250}")
    assert failures.wait_s("10.9.9.9") > 0
    clock[0] = 2 * WINDOW_S
    assert failures.wait_s("10.9.9.9") == 0


@pytest.fixture
def door(tmp_path):
    office = Office(tmp_path)
    key = new_key()
    issued = office.authority.issue(key.public_key(), "cityeye-server", "server", NOW_S, 1, ("127.0.0.1",))
    write_secret(office.folder / "ca" / "server.pem", private_pem(key) + issued.pem.encode())
    door = Door(("127.0.0.1", free_port()), office.desk, office.authority.pem, office.folder / "ca")
    door.start()
    door.office = office
    yield door
    door.stop()
    office.store.close()


def context(door, pem=None):
    made = ssl.create_default_context(cadata=door.ca)
    if pem is not None:
        made.load_cert_chain(pem)
    return made


def ask(door, verb, path, body=None, pem=None, **values):
    body = json.dumps(values) if values else body
    line = http.client.HTTPSConnection("127.0.0.1", door.server_port, timeout=5, context=context(door, pem))
    with contextlib.closing(line):
        line.request(verb, path, body)
        answer = line.getresponse()
        text = answer.read().decode()
    return answer.status, json.loads(text) if text.startswith("{") else text


@pytest.mark.parametrize(
    ("verb", "path", "body", "status"),
    [
        ("GET", "/", None, 404),
        ("GET", "/enrol", None, 404),
        ("GET", "/../ca", None, 404),
        ("POST", "/other", "{}", 404),
        ("POST", "/enrol", "", 413),
        ("POST", "/enrol", "{}", 400),
        ("POST", "/enrol", "[" * 10_000, 400),
        ("POST", "/enrol", b"\xff\xfe", 400),
        ("POST", "/enrol", '{"claim": 1, "csr": "-----BEGIN "}', 400),
        ("POST", "/enrol", '{"claim": "x", "csr": "-----BEGIN "}', 400),
        ("POST", "/enrol", "x" * (MAX_BODY_BYTES + 1), 413),
        ("POST", "/renew", "{}", 401),
        ("PUT", "/enrol", "{}", 501),
    ],
)
def test_the_door_serves_nothing_else(door, verb, path, body, status):
    assert ask(door, verb, path, body)[0] == status


def test_the_door_enrols_renews_and_limits(door):
    office = door.office
    (claim,) = office.claims()
    key = new_key()
    status, answer = ask(door, "POST", "/enrol", claim=claim.code, csr=csr(key))
    assert status == 200
    pem = office.folder / "box.pem"
    write_secret(pem, private_pem(key) + answer["certificate"].encode())
    status, renewed = ask(door, "POST", "/renew", pem=pem, csr=csr(new_key()))
    assert (status, renewed["box"]) == (200, claim.box)
    # failures count, and then nobody at this address is heard
    for _ in range(PER_ADDRESS):
        assert ask(door, "POST", "/enrol", claim=make_claim(), csr=csr(key))[0] == 403
    status, answer = ask(door, "POST", "/enrol", claim=claim.code, csr=csr(key))
    assert (status, answer["code"]) == (429, "too_many")
    assert ask(door, "GET", "/ca") == (200, office.authority.pem)


@pytest.mark.parametrize("what", ["foreign", "expired", "a server's"])
def test_a_bad_certificate_does_not_even_get_a_handshake(door, what):
    office = door.office
    key = new_key()
    authority = Authority.create(office.folder / "foreign", "xiaohe", NOW_S) if what == "foreign" else office.authority
    usage = "server" if what == "a server's" else "box"
    issued = authority.issue(key.public_key(), "x-0001", usage, NOW_S, -0.5 if what == "expired" else 1)
    pem = office.folder / "bad.pem"
    write_secret(pem, private_pem(key) + issued.pem.encode())
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        ask(door, "POST", "/renew", pem=pem, csr=csr(new_key()))


def drip(line, sent):
    """A byte from time to time: none of them comes too late."""
    with contextlib.suppress(OSError):
        for byte in b"POST /enrol HTTP/1.0\r\ncontent-length: 9000\r\n\r\n" + b"x" * 9000:
            line.send(bytes([byte]))
            sent.append(byte)
            time.sleep(0.05)


def many_silent(door):
    return [socket.create_connection(("127.0.0.1", door.server_port)) for _ in range(CONNECTIONS + 5)]


@contextlib.contextmanager
def secure(door, address="127.0.0.1"):
    """A line to it from an address."""
    with (
        socket.create_connection(("127.0.0.1", door.server_port), source_address=(address, 0)) as line,
        context(door).wrap_socket(line, server_hostname="127.0.0.1") as line,
    ):
        yield line


def test_a_request_has_its_time_however_slowly_it_comes(door, monkeypatch):
    monkeypatch.setattr("collector.boxes.door.TIMEOUT_S", 1.0)
    sent, began_s = [], time.monotonic()
    with secure(door) as line:
        drip(line, sent)
    assert 1.0 < time.monotonic() - began_s < 4.0
    assert len(sent) > 10


def test_one_address_does_not_take_all_connections(door):
    silent = many_silent(door)
    began_s = time.monotonic()
    with secure(door, "127.0.0.2") as line:
        line.send(b"GET /ca HTTP/1.0\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.0 200")
    assert time.monotonic() - began_s < TIMEOUT_S
    for one in silent:
        one.close()


def test_slow_and_silent_connections_do_not_keep_others_out(door, monkeypatch):
    monkeypatch.setattr("collector.boxes.door.TIMEOUT_S", 1.0)
    silent = many_silent(door)
    time.sleep(2.0)  # the real time-out of a real connection
    assert ask(door, "GET", "/ca")[0] == 200
    for one in silent:
        one.close()
    assert threading.active_count() < CONNECTIONS


FINGERPRINT = "0123456789abcdef" * 4
URL = "https://street-center.xiaohe.example.cn:8884"


@pytest.fixture(scope="module")
def claims():
    bits = random.Random(1).getrandbits
    return [NewClaim(f"xiaohe-{number:04d}", "xiaohe", make_claim(bits), 1_800_000_000_000) for number in range(1, 14)]


def test_the_table_has_a_line_for_each_code(claims):
    rows = list(csv.DictReader(io.StringIO(labels.as_csv(claims, URL, FINGERPRINT))))
    assert [row["claim"] for row in rows] == [one.code for one in claims]
    assert rows[0]["expires"] == "2027-01-15"
    assert Invitation.read(rows[0]["label"]) == Invitation(URL, claims[0].code, FINGERPRINT[:32], "xiaohe-0001")


def test_the_page_needs_nothing_from_elsewhere(claims):
    page = labels.as_page(claims, URL, FINGERPRINT)
    assert "src=" not in page
    assert "url(" not in page
    assert "<script" not in page
    assert page.count("<svg") == len(claims)


def scan(picture):
    """What a telephone does in a moment: OpenCV's reader misses a code at one size and reads it at another."""
    for scale in (1.0, 0.5, 0.75, 1.5):
        text = cv2.QRCodeDetector().detectAndDecode(cv2.resize(picture, None, fx=scale, fy=scale))[0]
        if text:
            return text
    return None


def test_the_codes_on_the_printed_page_can_be_scanned(claims):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium (deploy/setup.sh tools)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 794, "height": 1123}, device_scale_factor=2)
        page.set_content(labels.as_page(claims, URL, FINGERPRINT, flashed=True))
        drawn = page.locator("svg").all()
        shots = [cv2.imdecode(np.frombuffer(one.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE) for one in drawn]
        cut = "e => e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight"
        edges = [one.evaluate(cut) for one in page.locator("article").all()]
        browser.close()
    read = [scan(shot) for shot in shots]
    assert read == [str(labels.invitation(one, URL, FINGERPRINT)) for one in claims]
    assert not any(edges)  # nothing is cut off
