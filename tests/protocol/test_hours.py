from datetime import datetime

import pytest

from protocol.hours import any_active, parse_hours


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("rule", "moment", "active"),
    [
        ("Mo-Su 06:00-22:00", "2026-11-23T06:00", True),  # a Monday
        ("Mo-Su 06:00-22:00", "2026-11-23T05:59", False),
        ("Mo-Su 06:00-22:00", "2026-11-23T22:00", False),
        ("06:00-22:00", "2026-11-29T12:00", True),  # without days: all of them
        ("Mo-Fr 08:00-12:00,13:00-18:00", "2026-11-23T12:30", False),
        ("Mo-Fr 08:00-12:00,13:00-18:00", "2026-11-23T17:59", True),
        ("Mo-Fr 08:00-12:00", "2026-11-28T09:00", False),  # a Saturday
        ("Fr 22:00-02:00", "2026-11-28T01:00", True),  # Friday's night runs into Saturday
        ("Fr 22:00-02:00", "2026-11-27T01:00", False),  # but Thursday's does not exist
        ("Sa-Mo 10:00-11:00", "2026-11-29T10:30", True),  # around the week's end
        ("24/7", "2026-01-01T00:00", True),
        ("00:00-24:00", "2026-02-28T23:59", True),
        ("22:00-22:00", "2026-02-28T21:59", True),  # a whole day that begins at 22:00
    ],
)
def test_a_rule_is_active(rule, moment, active):
    assert parse_hours(rule).active(at(moment)) is active


@pytest.mark.parametrize("rule", ["", "Mo", "8-12", "Mo-Fr", "Xx 08:00-12:00", "25:00-26:00", "08:61-09:00", "a b c"])
def test_a_bad_rule_says_what_was_expected_and_what_came(rule):
    with pytest.raises(ValueError, match="expected hours such as") as fault:
        parse_hours(rule)
    assert repr(rule) in str(fault.value)


def test_without_rules_a_zone_is_always_active():
    assert any_active([], at("2026-01-01T03:00"))
