"""Lines of the audit log in words."""

import ast
from zoneinfo import ZoneInfo

import pytest

from collector.tickets.machine import VERBS
from collector.web import audit_words
from collector.web.reader import Reader
from protocol import commands
from tests.services import ROOT

MADE = {
    "ticket.{verb}": {f"ticket.{verb}" for verb in VERBS},
    "box.{verb}": {f"box.{verb}" for verb in commands.VERBS},
    "proposal.{state}": {"proposal.shown", "proposal.refused"},
    "{kind}.{step.action}": {f"{kind}.added" for kind in audit_words.KINDS} | {"cell.retired", "shop.forgotten"},
    "{row.kind}s.add": {"detectors.add", "systems.add"},
    "{kind.name}.exported": {"shop.exported", "permit.exported"},
}
"""What is put together, by how it is written."""


def written():
    """The actions that the code records."""
    for path in (ROOT / "collector").rglob("*.py"):
        for one in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = getattr(getattr(one, "func", None), "attr", getattr(getattr(one, "func", None), "id", ""))
            if isinstance(one, ast.Call) and name in ("record", "_record"):
                texts = [ast.unparse(each) for each in one.args if isinstance(each, (ast.Constant, ast.JoinedStr))]
                found = [text.lstrip("f").strip("'\"") for text in texts]
                yield from (text for text in found[:1] if "." in text or text.startswith("sign_"))


def test_every_action_that_the_code_writes_has_words():
    found = set(written())
    assert len(found) > 40
    actions = set().union(*(MADE.get(one, {one}) for one in found))
    assert actions - audit_words.ACTIONS.keys() == set()
    assert MADE.keys() - found == set()


@pytest.mark.parametrize(
    ("name", "given", "zh", "en"),
    [
        ("grants", ["admin@*", "officer@s"], "管理员 · 全部街道, 执法队员 · s", "Admin · all streets, Officer · s"),
        ("state", "noticed", "已提醒商户", "The shop is told"),
        ("due_ms", 0, "1970年1月1日 08:00:00", "1 Jan 1970, 08:00:00"),
        ("odd", {"a": 1}, '{"a": 1}', '{"a": 1}'),
        ("reason", "我看 / I look", "我看 / I look", "我看 / I look"),  # people's own words stay
    ],
)
def test_a_value_is_written_for_its_reader(name, given, zh, en):
    for language, expected in (("zh", zh), ("en", en)):
        reader = Reader(language, ZoneInfo("Asia/Shanghai"), lambda: 0)
        assert audit_words.value(name, given, reader) == expected
