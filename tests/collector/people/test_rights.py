"""The table of roles and rights, and streets."""

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.people import tokens
from collector.people.actor import SYSTEM, Actor, Grant, Role
from collector.people.rights import MAY, MEANING, may, streets
from collector.web.sign_in import _own_path


def person(*grants):
    return Actor("person", "wang", "王", frozenset(map(Grant.read, grants)))


def test_every_role_and_right_is_in_the_table():
    assert set(MEANING) == set(MAY)
    assert {role for roles in MAY.values() for role in roles} == {*Role}
    assert all(MAY.values())


@pytest.mark.parametrize(
    ("grants", "right", "street", "expected"),
    [
        (["operator"], "tickets.act", "s", True),
        (["operator@s"], "tickets.act", "s", True),
        (["operator@s"], "tickets.act", "t", False),
        (["operator@s"], "tickets.act", None, True),
        (["viewer@s", "operator@t"], "tickets.act", "s", False),
        (["viewer"], "tickets.act", None, False),
        (["viewer"], "evidence.original", "s", False),
        (["admin@s"], "people.write", "*", False),
        (["admin"], "people.write", "*", True),
        ([], "tickets.read", None, False),
    ],
)
def test_a_right_is_had_at_the_streets_of_its_role(grants, right, street, expected):
    assert may(person(*grants), right, street) is expected


def test_streets_of_a_right():
    who = person("operator@s", "viewer@t", "auditor")
    assert streets(who, "tickets.act") == {"s"}
    assert streets(who, "tickets.read") is None
    assert streets(person("viewer@t"), "tickets.read") == {"t"}


def test_who_watches_does_not_act_and_who_acts_does_not_administer():
    for right in MAY:
        if right.endswith((".write", ".act")):
            assert not may(person("auditor", "viewer"), right), right
    assert not may(person("operator", "officer", "grid_worker"), "people.write")
    assert not may(person("operator", "officer", "grid_worker"), "audit.read")


def test_what_is_no_person_has_no_rights_but_the_system_has():
    for actor in (Actor.policy("s"), Actor.camera("box-1"), Actor.shop("shop-1")):
        assert not any(may(actor, right) for right in MAY)
    assert all(may(SYSTEM, right) for right in MAY)


def test_an_unknown_right_is_a_mistake():
    with pytest.raises(KeyError):
        may(person("admin"), "tickets.everything")


@pytest.mark.parametrize("text", ["", "boss", "Admin", "admin@S", "admin@", "admin@a@b", "admin @s", "admin@../x"])
def test_what_is_no_role_is_said(text):
    with pytest.raises(ValueError, match="expected a"):
        Grant.read(text)


GRANTS = st.frozensets(st.builds(Grant, st.sampled_from([*Role]), st.sampled_from(["*", "s", "t"])), max_size=6)


@given(GRANTS, GRANTS, st.sampled_from([*MAY]), st.sampled_from(["*", "s", "t", "elsewhere"]))
def test_a_token_may_what_both_its_own_and_its_owners_roles_say_and_no_more(given_, held, right, street):
    one, other, both = (Actor("person", "x", "x", grants) for grants in (given_, held, tokens.common(given_, held)))
    if may(both, right, street):
        assert may(one, right, street)
        assert may(other, right, street)
    roles = [{grant.role for grant in grants if grant.street in ("*", street)} for grants in (given_, held)]
    assert {grant.role for grant in both.grants if grant.street in ("*", street)} == roles[0] & roles[1]


@given(st.text(max_size=30))
def test_a_page_that_is_led_to_is_one_of_this_center(text):
    for wanted in (text, f"/{text}"):
        path = _own_path(wanted)
        assert urljoin("http://center/sign-in", path).startswith("http://center/")
        assert path.isprintable()
