"""Passwords and one-time codes."""

import base64
import threading

import pytest
from argon2 import PasswordHasher

from collector.people import passwords, totp
from collector.people.passwords import BusyError, PasswordError, Passwords, argon2id, check_new
from tests.people import QUICK


def test_it_is_argon2id_with_the_parameters_of_the_rfc():
    kept = Passwords().hash("correct horse battery")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert len(kept) < 200


def test_the_right_password_fits_and_no_other():
    kept = QUICK.hash("correct horse battery")
    assert QUICK.fits(kept, "correct horse battery")
    for other in ("correct horse battery ", "Correct horse battery", "", "x" * 5000):
        assert not QUICK.fits(kept, other)
    assert not QUICK.fits(None, "correct horse battery")
    assert not QUICK.fits("no hash at all", "correct horse battery")


def test_characters_that_look_the_same_are_the_same():
    assert QUICK.fits(QUICK.hash("ｃｉｔｙ　ｅｙｅ　Ｏｎｅ"), "city eye One")
    assert QUICK.fits(QUICK.hash("caf\u00e9 creme brulee"), "cafe\u0301 creme brulee")


def test_old_parameters_are_told():
    kept = QUICK.hash("correct horse battery")
    assert not QUICK.outdated(kept)
    assert Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)).outdated(kept)
    assert argon2id().check_needs_rehash(kept)


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("short", "expected 12 to 256 characters, got 5"),
        ("x" * 257, "expected 12 to 256 characters, got 257"),
        ("aaaaaaaaaaaa", "at least 5 different"),
        ("wang.lei-2024", "more than a name"),
        ("Password12345678", "more than a name"),
        ("cityeye-admin", "more than a name"),
    ],
)
def test_bad_passwords_are_refused_with_what_is_expected(password, expected):
    with pytest.raises(PasswordError, match=expected):
        check_new(password, "wang.lei", "王磊")


@pytest.mark.parametrize(
    "password", ["correct horse battery", "今天街上没有一个摊位占道经营真好", "wang.lei rides a horse"]
)
def test_sentences_are_taken(password):
    check_new(password, "wang.lei", "王磊")


def test_a_made_password_is_one_that_is_taken():
    made = {passwords.make() for _ in range(50)}
    assert len(made) == 50
    for one in made:
        check_new(one, "wang")


def test_only_a_few_are_hashed_at_once(monkeypatch):
    monkeypatch.setattr(passwords, "WAIT_S", 0.05)
    inside, go = threading.Semaphore(0), threading.Event()

    class Slow:
        def hash(self, _):
            inside.release()
            go.wait(5)
            return "x"

    slow = Passwords(Slow())
    threads = [threading.Thread(target=slow.hash, args=("x",)) for _ in range(passwords.AT_ONCE)]
    for one in threads:
        one.start()
        inside.acquire()
    with pytest.raises(BusyError, match="try again"):
        slow.hash("x")
    go.set()
    for one in threads:
        one.join()
    assert slow.hash("x") == "x"


# RFC 6238, appendix B: SHA-1, 8 digits, secret "12345678901234567890"
RFC = b"12345678901234567890"


@pytest.mark.parametrize(
    ("at_s", "expected"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_the_rfc(at_s, expected):
    assert totp.code(RFC, totp.step_at(at_s * 1000), 8) == expected


@pytest.mark.parametrize(("off_s", "good"), [(0, True), (-30, True), (30, True), (-60, False), (60, False)])
def test_a_clock_may_be_off_by_one_step(off_s, good):
    secret, at_ms = totp.new_secret(), 1_780_000_000_000
    typed = totp.code(base64.b32decode(secret), totp.step_at(at_ms + off_s * 1000))
    step = totp.matching_step(secret, f"{typed[:3]} {typed[3:]}", at_ms)
    wide = typed.translate({48 + n: 0xFF10 + n for n in range(10)})
    assert totp.matching_step(secret, wide, at_ms) == step
    assert (step == totp.step_at(at_ms + off_s * 1000)) if good else step is None


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "٣٤٥٦٧٨", "0x1234"])
def test_what_is_no_code_is_none(typed):
    assert totp.matching_step(totp.new_secret(), typed, 1_780_000_000_000) is None


def test_the_link_is_what_apps_read():
    link = totp.link("ABC234", "小河街道", "wang@x")
    assert link == (
        "otpauth://totp/%E5%B0%8F%E6%B2%B3%E8%A1%97%E9%81%93:wang%40x"
        "?secret=ABC234&issuer=%E5%B0%8F%E6%B2%B3%E8%A1%97%E9%81%93"
    )
