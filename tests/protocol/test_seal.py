from datetime import UTC, datetime
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.messages import Evidence
from protocol.seal import picture_link, public_key_text, seal, seal_fault

PICTURE = b"\xff\xd8 a picture"


def record(**changes):
    values = {
        "role": "at",
        "view": "wide",
        "sha256": sha256(PICTURE).hexdigest(),
        "bytes": len(PICTURE),
        "media_type": "image/jpeg",
        "width": 10,
        "height": 10,
        "taken_at": datetime(2026, 1, 1, tzinfo=UTC),
        "masked": True,
    }
    return Evidence(**(values | changes))


@pytest.fixture(scope="module")
def key():
    return Ed25519PrivateKey.generate()


def test_a_sealed_picture_is_found_good(key):
    sealed = seal("i-1", record(), None, key)
    assert seal_fault("i-1", sealed, public_key_text(key), PICTURE) is None
    # what the seal covers survives the wire
    again = Evidence.model_validate_json(sealed.model_dump_json())
    assert seal_fault("i-1", again, public_key_text(key), PICTURE) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"role": "clear"}, "signature does not match"),
        ({"view": "close"}, "signature does not match"),
        ({"taken_at": datetime(2026, 1, 1, 0, 1, tzinfo=UTC)}, "signature does not match"),
        ({"masked": False}, "signature does not match"),
        ({"prev": "f" * 64}, "signature does not match"),  # a picture before it was taken out
        ({"sha256": "0" * 64}, "bytes do not match"),
        ({"signature": None}, "no signature"),
        ({"signature": "%%%"}, "malformed"),
    ],
)
def test_any_change_is_found(key, change, fault):
    sealed = seal("i-1", record(), "a" * 64, key).model_copy(update=change)
    assert fault in seal_fault("i-1", sealed, public_key_text(key), PICTURE)


def test_a_picture_proves_no_other_incident_and_no_other_box_made_it(key):
    sealed = seal("i-1", record(), None, key)
    assert seal_fault("i-2", sealed, public_key_text(key)) is not None
    assert seal_fault("i-1", sealed, public_key_text(Ed25519PrivateKey.generate())) is not None


def test_a_dropped_picture_keeps_its_seal(key):
    sealed = seal("i-1", record(), None, key).model_copy(update={"dropped": True})
    assert seal_fault("i-1", sealed, public_key_text(key)) is None


def test_links_form_a_chain(key):
    first = seal("i-1", record(), None, key)
    second = seal("i-1", record(view="close"), picture_link("i-1", first), key)
    assert second.prev == picture_link("i-1", first)
    assert picture_link("i-1", second) != second.prev
