"""Claim codes and labels, as people type and scan them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.enrolment import (
    ALPHABET,
    EnrolRequest,
    Invitation,
    make_claim,
    matches,
    read_claim,
    read_fingerprint,
    read_url,
)

FINGERPRINT = "0123456789abcdef" * 4
codes = st.integers(0, 2**32).map(lambda seed: make_claim(random.Random(seed).getrandbits))


def test_a_code_has_85_random_bits_and_no_symbol_that_is_hard_to_type():
    seen = {make_claim() for _ in range(2000)}
    assert len(seen) == 2000
    assert {len(code) for code in seen} == {20}
    assert set("".join(seen)) == set(ALPHABET) | {"-"}


@given(codes, st.sampled_from(["{}", " {} ", "{}\n"]), st.booleans(), st.sampled_from(["-", " ", "", " - "]))
def test_a_code_is_read_as_people_write_it(code, around, lower, between):
    typed = code.replace("-", between).replace("0", "O").replace("1", "l")
    assert read_claim(around.format(typed.lower() if lower else typed)) == code


@given(codes, st.integers(0, 17), st.integers(1, 31))
def test_one_wrong_symbol_is_found(code, place, step):
    symbols = list(code.replace("-", ""))
    symbols[place] = ALPHABET[(ALPHABET.index(symbols[place]) + step) % 32]
    with pytest.raises(ValueError, match="mistake"):
        read_claim("".join(symbols))


@given(codes, st.integers(0, 15))
def test_two_neighbours_in_the_wrong_order_are_found(code, place):
    symbols = list(code.replace("-", ""))
    if symbols[place] == symbols[place + 1]:
        return
    symbols[place], symbols[place + 1] = symbols[place + 1], symbols[place]
    with pytest.raises(ValueError, match="mistake"):
        read_claim("".join(symbols))


@given(st.text() | st.text(alphabet=ALPHABET + "OILU- ", min_size=16, max_size=22))
def test_any_other_text_is_refused_and_not_quoted(text):
    try:
        code = read_claim(text)
    except ValueError as fault:
        assert len(text) < 4 or text not in str(fault)  # noqa: PT017 - both ways are good
    else:
        assert read_claim(code) == code


@given(codes, st.none() | st.just("xiaohe-0001"))
def test_a_label_is_read_as_it_was_written(code, box):
    label = Invitation("https://center.example:8884", code, FINGERPRINT, box)
    assert Invitation.read(str(label)) == label
    # nothing of it goes to whoever a telephone opens it at
    assert str(label).partition("#")[0] == "https://center.example:8884/"


@given(st.text() | st.text().map(lambda text: f"https://a/#claim={text}&ca={text}"))
def test_any_other_label_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - which of its parts is wrong differs
        Invitation.read(text)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        (f"sha256:{FINGERPRINT}", FINGERPRINT),
        ("SHA256:0123 4567 89AB cdef 0123 4567 89ab cdef", FINGERPRINT[:32]),  # as a label prints it
        (FINGERPRINT[:32], FINGERPRINT[:32]),
        (FINGERPRINT[:31], None),  # too little of it pins nothing
        ("", None),
        (FINGERPRINT + "0", None),
        ("sha256:" + "g" * 64, None),
    ],
)
def test_a_fingerprint_may_be_cut_to_128_bits_and_no_further(text, digits):
    if digits is None:
        with pytest.raises(ValueError, match="sha256"):
            read_fingerprint(text)
    else:
        assert read_fingerprint(text) == digits
        assert matches(digits, FINGERPRINT)
        assert not matches(digits, "f" + FINGERPRINT[1:])


@pytest.mark.parametrize("text", ["http://a", "https://", "https://a/b", "https://u@a", "https://a?b", "https://a:b"])
def test_a_bad_address_is_refused(text):
    with pytest.raises(ValueError, match=r"expected https|[Pp]ort"):
        read_url(text)


def test_fields_of_later_versions_are_ignored():
    assert EnrolRequest.model_validate({"claim": "x", "csr": "-----BEGIN x", "more": 1}).claim == "x"
