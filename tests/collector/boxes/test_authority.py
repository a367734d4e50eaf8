"""The CA: what it makes, who can read it, what it refuses."""

import base64
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from collector.boxes.authority import Authority, AuthorityError, fingerprint, read_request, revoked_serials

NOW_S = 1_780_000_000.0
DAY_S = 86_400.0


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path / "ca", "xiaohe", NOW_S)


def key():
    return ec.generate_private_key(ec.SECP256R1())


def test_the_key_is_readable_by_one_user_only(authority):
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((authority.folder / "ca.key").stat().st_mode) == 0o600
    again = Authority.open(authority.folder)
    assert again.fingerprint == authority.fingerprint == fingerprint(authority.certificate)


@pytest.mark.parametrize("name", ["", "ca.key"])
def test_a_key_that_others_can_read_is_not_used(authority, name):
    (authority.folder / name).chmod(0o750)
    with pytest.raises(AuthorityError, match="chmod go="):
        Authority.open(authority.folder)


def test_a_ca_is_never_overwritten(authority):
    before = (authority.folder / "ca.key").read_bytes()
    with pytest.raises(AuthorityError, match="not overwritten"):
        Authority.create(authority.folder, "xiaohe", NOW_S)
    assert (authority.folder / "ca.key").read_bytes() == before


def test_a_damaged_or_foreign_key_is_said(authority, tmp_path):
    with pytest.raises(AuthorityError, match="found none"):
        Authority.open(tmp_path / "none")
    other = Authority.create(tmp_path / "other", "xiaohe", NOW_S)
    (authority.folder / "ca.crt").write_text(other.pem)
    with pytest.raises(AuthorityError, match="does not belong"):
        Authority.open(authority.folder)
    (authority.folder / "ca.key").write_bytes(b"-----BEGIN")
    with pytest.raises(AuthorityError, match="damaged"):
        Authority.open(authority.folder)


@pytest.mark.parametrize(
    ("usage", "purpose"),
    [
        ("box", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("collector", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("server", ExtendedKeyUsageOID.SERVER_AUTH),
    ],
)
def test_a_certificate_serves_one_purpose_and_signs_nothing(authority, usage, purpose):
    mine = key()
    issued = authority.issue(mine.public_key(), "x-1", usage, NOW_S, 365, ("center.example", "10.0.0.5", "::1"))
    certificate = issued.certificate
    certificate.verify_directly_issued_by(authority.certificate)
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
    may = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (may.digital_signature, may.key_cert_sign, may.crl_sign) == (True, False, False)
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["center.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "::1"]
    assert certificate.not_valid_after_utc.timestamp() == NOW_S + 365 * DAY_S
    assert certificate.not_valid_before_utc.timestamp() == NOW_S - DAY_S


def test_the_ca_signs_others_and_no_further_ca(authority):
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    late = authority.issue(key().public_key(), "x", "box", NOW_S, 365 * 40)
    assert late.certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_no_box_has_a_name_of_the_center(authority):
    """The ACL gives rights to names: a box of this name would be a collector."""
    with pytest.raises(AuthorityError, match="the center's own"):
        authority.issue(key().public_key(), "cityeye-center-xiaohe", "box", NOW_S, 1)


def test_the_revocation_list_is_good_as_long_as_the_ca(authority):
    serials = {"1f": NOW_S, "abc": NOW_S - 5}
    text = authority.revocations(serials, NOW_S)
    assert revoked_serials(text) == serials
    crl = x509.load_pem_x509_crl(text)
    assert crl.is_signature_valid(authority.certificate.public_key())
    # mosquitto lets nobody in by a list that has expired
    assert crl.next_update_utc == authority.certificate.not_valid_after_utc


def request(mine, hash_=hashes.SHA256()):  # noqa: B008 - a constant
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cityeye-center-xiaohe")])
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(mine, hash_).public_bytes(Encoding.PEM)


def test_only_the_key_of_a_request_counts():
    mine = key()
    assert read_request(request(mine).decode()) == mine.public_key()


@pytest.mark.parametrize(
    "text",
    [
        request(rsa.generate_private_key(65537, 2048)).decode(),
        request(ec.generate_private_key(ec.SECP384R1())).decode(),
        request(ed25519.Ed25519PrivateKey.generate(), None).decode(),
        request(key()).decode().replace("A", "B"),
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "",
    ],
    ids=["rsa", "p384", "ed25519", "damaged", "empty", "nothing"],
)
def test_other_requests_are_refused(text):
    with pytest.raises(ValueError, match="signing request"):
        read_request(text)


@given(st.binary(max_size=400), st.integers(0, 300))
def test_a_request_of_any_bytes_is_refused_or_read(noise, place):
    body = bytearray(x509.load_pem_x509_csr(REQUEST).public_bytes(Encoding.DER))
    body[place : place + len(noise)] = noise
    armour = "-----{} CERTIFICATE REQUEST-----\n"
    text = armour.format("BEGIN") + base64.encodebytes(bytes(body)).decode() + armour.format("END")
    try:
        read_request(text)
    except ValueError as fault:
        assert "signing request" in str(fault)  # noqa: PT017 - both ways are good


REQUEST = request(key())
