"""The table of event codes."""

from datetime import date
from pathlib import Path

import pytest

import cityeye_config
from collector.places.codes import Numbering, full_code, load_codes, load_numbering
from protocol.documents import SettingsError
from tests.services import ROOT

TABLE = (ROOT / "config/codes/events.toml").read_text("utf-8")


def test_the_table_that_comes_with_the_program_is_good():
    codes = load_codes(ROOT / "config/codes/events.toml")
    assert codes.of_rule("encroachment").code == "0504"
    assert codes.of_rule("encroachment").zh == "店外经营"
    assert codes.of_rule("crowding").zh == "人群聚集"
    assert codes.of_rule("loitering") is None
    assert codes.of_rule("something new") is None
    agreed = {"0501": "无照经营游商", "0505": "机动车乱停放", "0506": "非机动车乱停放", "0507": "乱堆物堆料"}
    assert agreed.items() <= {event.code: event.zh for event in codes.event}.items()


def test_a_center_without_a_table_has_the_programs(tmp_path):
    if Path(cityeye_config.__file__).resolve().parent != ROOT / "config":
        pytest.skip("another checkout's settings are installed here")
    assert load_codes(tmp_path / "none.toml") == load_codes(ROOT / "config/codes/events.toml")


def test_a_city_may_file_crowding_as_it_does(tmp_path):
    path = tmp_path / "codes.toml"
    path.write_text(TABLE.replace('crowding = "2101"', 'crowding = "0409"'), "utf-8")
    assert load_codes(path).of_rule("crowding").zh == "群发性事件"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('crowding = "2101"', 'crowding = "9999"', "expected the code of an .*got 9999"),
        ('code = "0501"', 'code = "0502"', "expected each code once, 0502"),
        ('code = "0501"', 'code = "501"', "code"),
        ('code = "0501"', 'code = "9901"', "expected its class 99"),
        ('zh = "店外经营"', 'zn = "店外经营"', "unknown key 'zn'"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path, before, after, expected):
    path = tmp_path / "codes.toml"
    path.write_text(TABLE.replace(before, after), "utf-8")
    with pytest.raises(SettingsError, match=expected):
        load_codes(path)


def test_numbers_of_cases_and_full_codes():
    assert load_numbering().number("330105002", date(2028, 2, 29), 7) == "3301052028022900007"
    assert full_code("330105", "0504") == "3301050504"
    for region, serial in (("3301", 1), ("330105", 100_000)):
        with pytest.raises(ValueError, match="expected 19 digits"):
            load_numbering().number(region, date(2026, 1, 1), serial)
    other = Numbering(pattern="{day:%y%m%d}{serial:04d}", digits=10, most=9999)
    assert other.number("330105", date(2026, 1, 2), 3) == "2601020003"
    for pattern in ("{day:%Y%m%d}00", "{street}", "{serial:05d}-{day:%Y}"):
        with pytest.raises(ValueError, match=r"pattern|digits"):
            Numbering(pattern=pattern, digits=10, most=9)
    with pytest.raises(ValueError, match="a code of 4"):
        full_code("330105", "504")
