"""The table of roles and rights, and streets."""

import pytest

from collector.people.actor import SYSTEM, Actor, Grant, Role
from collector.people.rights import MAY, MEANING, may, streets


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
