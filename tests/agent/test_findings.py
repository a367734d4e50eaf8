"""What the doctor says has its Chinese: a finding that is added without one fails here."""

import ast
import re

import pytest

from agent.commands import _reads_chinese
from agent.findings import Finding
from protocol.examinations import _NAMES, CODES, SENTENCES, sentence
from tests.services import ROOT

SOURCES = ("doctor.py", "box/doctor.py", "box/writes.py", "camera/examination.py")
MAKERS = ("Finding", "add", "_life")
WORDS = re.compile("[a-z]{2,} ?[a-z]")


def template(node):
    """A sentence with 1 for each value; None for what is none."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "1" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def sentences(node):
    """All that are in it, whole."""
    if (one := template(node)) is not None:
        return [one]
    return [one for child in ast.iter_child_nodes(node) for one in sentences(child)]


def findings():
    """Each place where one is made: its constant name and code, and the sentences of it that no code stands for."""
    for name in SOURCES:
        tree = ast.parse((ROOT / "agent" / name).read_text("utf-8"))
        for function in (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)):
            calls = [one for one in ast.walk(function) if isinstance(one, ast.Call)]
            made = [one for one in calls if isinstance(one.func, ast.Name) and one.func.id in MAKERS]
            for call in made:
                kind = template(call.args[0]) if call.func.id == "Finding" else None
                given = [*call.args[1:], *(one.value for one in call.keywords)]
                words = [one for arg in given for one in sentences(arg)]
                yield kind, {one for one in words if re.fullmatch("[a-z]+(_[a-z]+)*", one)} - {"ok", "warn"}, words
            kept = [one for one in ast.walk(function) if isinstance(one, ast.Assign) and made]
            says = [one for one in kept if isinstance(one.targets[0], ast.Name) and one.targets[0].id == "says"]
            yield None, set(), [one for found in says for one in sentences(found.value)]


def test_every_finding_is_known_in_chinese():
    all_codes, unknown = set(), []
    for name, codes, words in findings():
        assert name is None or name.partition(" ")[0] in _NAMES, name
        all_codes |= codes & CODES.keys()
        if not codes & CODES.keys():
            unknown += [one for one in words if " " in one and WORDS.search(one) and sentence(one) is None]
    assert unknown == []
    assert len(all_codes) > 30


def test_nothing_stands_in_the_table_that_nobody_says():
    names = (*SOURCES, "camera/decoding.py", "camera/views.py", "../protocol/broker.py")
    sources = "".join((ROOT / "agent" / name).read_text("utf-8") for name in names)
    assert [code for code in CODES if f'"{code}"' not in sources] == []
    said = sentences(ast.parse(sources))
    assert [pattern.pattern for pattern, _ in SENTENCES if not any(pattern.fullmatch(one) for one in said)] == []


def test_a_code_that_is_made_is_known():
    made = set()
    for name in (*SOURCES, "camera/decoding.py"):
        text = (ROOT / "agent" / name).read_text("utf-8")
        made |= {*re.findall(r'(?:todo|"[^"]*"), "([a-z_]+)"\)', text), *re.findall(r'code="(\w+)"', text)}
        made |= set(re.findall(r'add\(\s*"\w+",\s*"(\w+)"', text))
    assert len(made) >= 40
    assert made - {"true"} <= CODES.keys()


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (Finding("camera cam-1", "ok", "1920 × 1080, h264, 25.0 pictures a second"),
         "ok    摄像头 cam-1: 1920 × 1080, h264，每秒 25.0 帧"),
        (Finding("disk", "warn", "1 of 9 GB free at /data", "free some, or set outbox_mb to 64 or less", "little_room"),
         "warn  存储: 可用 1，共 9 GB：/data → 清理空间，或将 outbox_mb 设为 64 以下"),
        (Finding("temperature", "FAIL", "91 °C", "shade it", "hot"),
         "FAIL  温度: 温度过高（91 °C） → 遮阳、周围留出空隙、清洁风扇"),
        (Finding("state", "ok", "/data"), "ok    数据目录: /data"),
        (Finding("new", "warn", "of a later version", "do it", "unheard"), "warn  new: of a later version → do it"),
    ],
)  # fmt: skip
def test_a_finding_is_one_line_of_chinese(finding, line):
    assert finding.line(chinese=True) == line


@pytest.mark.parametrize(
    ("settings", "chinese"),
    [({}, False), ({"LANG": "zh_CN.UTF-8"}, True), ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, False)],
)
def test_the_console_speaks_as_the_locale_says(monkeypatch, settings, chinese):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.setenv(name, settings.get(name, ""))
    assert _reads_chinese() is chinese
