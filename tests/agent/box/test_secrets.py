"""Secrets: sealed to one box, kept in a file of the owner's, and nowhere else."""

import base64
import stat
import tomllib

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.box.diagnostics import MAX_BUNDLE_BYTES, bundle, open_bundle
from agent.box.redaction import redact
from agent.box.secrets_file import SecretsError, put_secret, read_secrets
from protocol.messages import MAX_JSON_BYTES
from protocol.sealed import SealedError, open_secret, seal_secret

KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
PASSWORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc", "Z"]), min_size=4, max_size=24
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.binary(max_size=500))
def test_what_is_sealed_opens_for_that_box_command_and_name_only(secret):
    sealed = seal_secret(secret, PUBLIC, "box-1", "c1", "cam-1")
    assert open_secret(sealed, KEY, "box-1", "c1", "cam-1") == secret
    for other in (("box-2", "c1", "cam-1"), ("box-1", "c2", "cam-1"), ("box-1", "c1", "cam-2")):
        with pytest.raises(SealedError):
            open_secret(sealed, KEY, *other)
    with pytest.raises(SealedError):
        open_secret(sealed, X25519PrivateKey.generate(), "box-1", "c1", "cam-1")


@given(st.data())
def test_one_changed_bit_does_not_open(data):
    raw = bytearray(base64.b64decode(seal_secret(b"secret", PUBLIC, "b", "c", "n")))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    with pytest.raises(SealedError):
        open_secret(base64.b64encode(raw).decode(), KEY, "b", "c", "n")


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: base64.b64encode(raw).decode()))
def test_rubbish_does_not_open_and_is_no_key(text):
    with pytest.raises(SealedError):
        open_secret(text, KEY, "b", "c", "n")
    if text != PUBLIC:
        try:
            seal_secret(b"x", text, "b", "c", "n")
        except SealedError:
            return
        assert len(base64.b64decode(text)) == 32


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.text(st.characters(exclude_categories=["Cs"]))
)
def test_the_file_keeps_every_secret_as_it_was(tmp_path_factory, user, password):
    path = tmp_path_factory.mktemp("secrets") / "secrets.toml"
    put_secret(path, "first", "admin", "old")
    put_secret(path, "cam-1", user, password)
    put_secret(path, "first", "admin", "new")
    assert tomllib.loads(path.read_text("utf-8")) == {
        "first": {"user": "admin", "password": "new"},
        "cam-1": {"user": user, "password": password},
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["[cam-1]\npassword = ", 'top = "level"', "[a]\nnumber = 3", "[a.b]\nc = 'd'"])
def test_a_file_that_would_lose_something_is_left_alone(tmp_path, text):
    path = tmp_path / "secrets.toml"
    path.write_text(text)
    with pytest.raises(SecretsError):
        put_secret(path, "cam-1", "a", "b")
    assert path.read_text() == text


def test_no_file_has_no_secrets(tmp_path):
    assert read_secrets(tmp_path / "secrets.toml") == {}


@pytest.mark.parametrize(
    "line",
    [
        "opening rtsp://admin:{}@10.0.0.1:554/live",
        "opening rtsp://admin:{}@10.0.0.1:554/live?channel=1",
        "http://10.0.0.1/cgi?user=admin&password={}&x=1 failed",
        "rtsp://10.0.0.1/user=admin&password={}&channel=1",
        "password={}",
        'config: {{"password": "{}", "x": 1}}',
        "PWD: {}",
        "rtsp_password = '{}'",
        "Authorization: Basic {}",
        "token={}; next",
    ],
)
@given(password=PASSWORDS)
def test_what_looks_like_a_secret_is_taken_out(line, password):
    """No one told it which password it is."""
    # where a delimiter of the text stands in it, nobody can tell where it ends
    assume(not set("@/?#&;,'\"<>{}[]()\\=:") & set(password))
    assert password not in redact(line.format(password)).replace(line.format(""), "")


@given(PASSWORDS, st.lists(st.text(max_size=60), max_size=20), st.sampled_from(["{}", "x{}y", "a@{}", "{}\n"]))
def test_no_known_secret_leaves_in_a_bundle(password, lines, where):
    assume(password not in "the rest of the text log left_out ***")
    parts = {"settings": {"camera": [{"source": f"rtsp://h/{password}"}]}, "deep": [[where.format(password)]]}
    text = bundle(parts, [*lines, where.format(password)], [password])
    opened = open_bundle(text)
    assert password not in str(opened["settings"]) + str(opened["deep"])
    assert not any(password in line for line in opened["log"])


def test_a_bundle_is_bounded_and_keeps_the_newest_lines():
    lines = [f"{number} {number * 7919 % 100_003:x} {'x' * (number % 50)}" for number in range(50_000)]
    text = bundle({"a": 1}, lines, [])
    assert len(text) <= MAX_BUNDLE_BYTES * 4 / 3 + 4 < MAX_JSON_BYTES - 8192
    opened = open_bundle(text)
    assert opened["a"] == 1
    assert opened["log"][-1] == lines[-1]
    assert len(opened["log"]) > 500
