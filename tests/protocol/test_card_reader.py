"""The card of a box as people write it: what is taken, and what each mistake is called."""

import base64
import datetime as dt
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.card import SAID, SECTIONS, Card, read_card
from protocol.enrolment import make_claim

KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)).decode() + " 王工"
CODE = make_claim(lambda bits: (1 << bits) // 5)
CLAIM = (
    f'[claim]\nurl = "https://center.example:8884/"\ncode = "{CODE}"\nca = "sha256:{"1e" * 16}"\nbox = "xiaohe-0001"\n'
)
LABEL = f"https://center.example:8884/#claim={CODE}&ca=sha256:{'1e' * 16}&box=xiaohe-0001"
REST = f"""
[box]
site = "xiaohe"
[network]
address = "10.1.2.3/24"
gateway = "10.1.2.1"
dns = ["10.1.2.1"]
vlan = 12
mtu = 1500
[wifi]
ssid = "咖啡（二楼）"
password = "12345678"
[modem]
apn = "cmnet"
pin = "1234"
[time]
servers = ["ntp.example"]
zone = "Asia/Shanghai"
[ssh]
keys = ["{KEY}"]
"""
WHOLE = CLAIM + REST


def made_ca():
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + dt.timedelta(99))
    made = builder.sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode(), made.fingerprint(hashes.SHA256()).hex()


def sole(text):
    card, faults = read_card(text.encode())
    assert len(faults) == 1, faults
    return card, faults[0]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode(),
        WHOLE.encode("gb18030"),
        WHOLE.replace('["10.1.2.1"]', '"10.1.2.1"').encode(),
        WHOLE.replace(CODE, CODE.lower().replace("-", " ")).encode(),
        (f'[claim]\nlabel = "{LABEL}"\n' + REST).encode(),
    ],
    ids=["bom-crlf", "gbk", "no-list", "code", "label"],
)
def test_what_editors_leave_is_taken_as_it_is_meant(content):
    (card, faults), (plain, _) = read_card(content), read_card(WHOLE.encode())
    assert [one.text("en") for one in faults] == []
    assert str(card.invitation) == LABEL
    assert card.model_dump(exclude={"claim"}) == plain.model_dump(exclude={"claim"})
    assert card.wifi.ssid == "咖啡（二楼）"


MISTAKES = """
[network]¶adress = 1 | 2 | [network] adress | did you mean address?
[netwrok]¶vlan = 1 | 1 | [netwrok] | did you mean [network]?
address = "10.0.0.2/8" | 1 | address | move it below [network]
network = 3 | 1 | network | did you mean [network]
[network]¶¶vlan = 4095 | 3 | [network] vlan | correct
[network]¶mtu = "1500" | 2 | [network] mtu | correct
[network]¶address = "10.1.2.3" | 2 | [network] address | correct
[network]¶address = "10.1.2.255/24" | 2 | [network] address | correct
[network]¶address = "fd00::1/64" | 2 | [network] address | correct
[network]¶address = "10.1.2.3/24"¶gateway = "10.1.3.1" | 3 | [network] gateway | compare
[network]¶gateway = "10.1.3.1" | 2 | [network] gateway | compare
[network]¶dns = ["fe80::1"] | 2 | [network] dns | correct
[wifi]¶password = "12345678" | 1 | [wifi] ssid | add this line
[wifi]¶ssid = "街街街街街街街街街街街" | 2 | [wifi] ssid | correct
[wifi]¶ssid = "a"¶password = "short" | 3 | [wifi] password | correct
[modem]¶apn = "cmnet"¶pin = 1234 | 3 | [modem] pin | correct
[modem]¶apn = "cmnet"¶user = "a\\nb" | 3 | [modem] user | correct
[time]¶zone = "Asia/Peking" | 2 | [time] zone | correct
[time]¶servers = ["a b"] | 2 | [time] servers | correct
[ssh]¶keys = ["ssh-rsa AAAA"] | 2 | [ssh] keys | correct
[ssh]¶keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"] | 2 | [ssh] keys | private key
[center]¶ca = "-----BEGIN CERTIFICATE-----" | 2 | [center] ca | correct
[box]¶site = xiaohe | 2 | [box] | quotes
[box]¶site = “xiaohe” | 2 | [box] | quotes
[box]¶hello | 2 | [box] | correct
[box]¶site = "a"¶site = "b" | 3 | [box] | into one
[box]¶[time]¶[box] | 3 | [box] | into one
[center]¶ca = \"\"\"--- | 2 | [center] | three quotes
"""
CLAIMS = [
    (CLAIM.replace(CODE[-1] + '"', ("0" if CODE[-1] != "0" else "1") + '"'), "3", "[claim] code", "correct"),
    (CLAIM.replace("https", "http"), "2", "[claim] url", "correct"),
    (CLAIM.replace("xiaohe-0001", "Box 1"), "5", "[claim] box", "correct"),
    (CLAIM.replace("ca =", "# ca ="), "1", "[claim] ca", "label alone"),
    (f'{CLAIM}label = "{LABEL}"', "6", "[claim] label", "either"),
    (f'[claim]\nlabel = "{LABEL.replace("0001", "%20")}"', "2", "[claim] label", "correct"),
    (CLAIM + f"[center]\nca = '''{made_ca()[0]}'''", "7", "[center] ca", "another center"),
]


@pytest.mark.parametrize(
    ("text", "line", "place", "todo"), [*CLAIMS, *(one.split(" | ") for one in MISTAKES.strip().splitlines())]
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(text, line, place, todo):
    _, fault = sole(text.replace("¶", "\n"))
    assert (str(fault.line), fault.place) == (line, place)
    assert todo in fault.todo.en
    assert "expected" in fault.text("en")
    assert "应为" in fault.text("zh")
    assert CODE not in json.dumps(fault.values())


def test_one_bad_section_leaves_the_others():
    card, fault = sole(WHOLE.replace("vlan = 12", "vlan = twelve"))
    assert fault.place == "[network]"
    assert card.network == Card().network, "half of a network is none: DHCP"
    assert card.invitation is not None
    assert (card.modem.apn, card.time.zone) == ("cmnet", "Asia/Shanghai")


def test_a_ca_stands_in_for_its_fingerprint():
    pem, fingerprint = made_ca()
    text = CLAIM.replace("ca =", "# ca =") + f"[center]\nca = '''\n{pem}'''"
    card, faults = read_card(text.encode())
    assert not faults
    assert card.invitation.fingerprint == fingerprint


@pytest.mark.parametrize("content", [b"\x7fELF\0\0\1", b"\xff\xff\xff", b"#" * 70_000])
def test_what_is_no_text_is_said(content):
    card, (fault,) = read_card(content)
    assert card == Card()
    assert "UTF-8" in fault.text("zh")


words = st.sampled_from([*SECTIONS, *(key for one in SECTIONS.values() for key in one.model_fields), "x", "“", "＝"])
lines = st.one_of(
    words.map("[{}]".format),
    st.tuples(
        words, st.sampled_from(['"1"', "1", '["a"]', "{a=1}", "“x”", "[[", '"""', "1979-99-01", "nan", "'\t'"])
    ).map(" = ".join),
    st.sampled_from(WHOLE.splitlines()),
    st.text(max_size=20),
)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(lines, max_size=30).map("\n".join).map(lambda one: one.encode("utf-8", "replace")),
    )
)
@example(b"a=" + b"[" * 20_000)
@example(b"[network]\nvlan=0x" + b"1" * 9_000)
@example(b"[ssh]\nkeys=" + b"[" * 300 + b"]" * 300)
def test_nothing_is_too_strange_for_the_reader(content):
    card, faults = read_card(content)
    assert isinstance(card, Card)
    for fault in faults:
        assert fault.line is None or 1 <= fault.line <= content.count(b"\n") + content.count(b"\r") + 2
        assert len(fault.text("zh")) < 500
        assert "{0}" not in json.dumps(fault.values())
    if not faults:
        assert card.invitation is None or card.invitation.claim


def test_each_value_says_what_it_should_be():
    assert {f"{name}.{key}" for name, one in SECTIONS.items() for key in one.model_fields} <= SAID.keys()
