"""What docs/rights says, and those of its claims that are of the whole program."""

import ast
import importlib.util
import re
import sys

import pytest
from pydantic import BaseModel
from typer.main import get_command

from collector.people.rights import MAY, PUBLIC
from collector.settings import CenterSettings
from collector.start import command_line
from collector.tickets.policy import Policy
from collector.web.calls import application
from collector.web.rights import calls
from protocol import commands, desired, messages
from protocol.settings import Camera
from tests.services import ROOT, run

PAGES = sorted((ROOT / "docs/rights").glob("*.md"))
ARTICLES = {"pipl": "6 26 28 55", "video": "13 14 15 16 17 18 19 20 21 22", "penalty": "33 41 42", "city": "17"}
LINE = re.compile(r"(module|setting|policy|camera|right|route|command) `([^`]+)`")
SOURCES = [path for room in ("agent", "collector", "models", "protocol") for path in (ROOT / room).rglob("*.py")]
RECOGNISERS = {
    "face_recognition",
    "insightface",
    "dlib",
    "deepface",
    "facenet_pytorch",
    "arcface",
    "torchreid",
    "easyocr",
}
RECOGNISING = re.compile(
    r"FaceRecogni[sz]er|face_?(id|embedding|feature)|re_?identif|reid\b|plate_?(number|text)", re.IGNORECASE
)
PERSONAL = re.compile(
    r"face|identity|embedding|feature|gender|age$|person|track|plate|name$|phone|licence", re.IGNORECASE
)
HARMLESS = {("Model", "name"), ("Found", "name"), ("MachineLoad", "undervoltage")}
"""Of a detector; no age."""


def found(pattern):
    return {one for path in PAGES for one in re.findall(pattern, path.read_text("utf-8"))}


def has_field(model, path):
    """Whether a dotted path leads to a field of a model, through tuples and unions."""
    models = [model]
    for step in path.split("."):
        fields = [one.model_fields[step] for one in models if step in one.model_fields]
        if not fields:
            return False
        models = [inner for one in fields for inner in inside(one.annotation)]
    return True


def inside(kind):
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [inner for one in getattr(kind, "__args__", ()) for inner in inside(one)]


def is_command(words):
    node = get_command(command_line())
    for word in words.split():
        node = getattr(node, "commands", {}).get(word)
    return node is not None


EXISTS = {
    "module": lambda name: importlib.util.find_spec(name) is not None,
    "setting": lambda name: has_field(CenterSettings, name),
    "policy": lambda name: has_field(Policy, name),
    "camera": lambda name: has_field(Camera, name),
    "right": lambda name: name in MAY,
    "command": is_command,
}


def test_every_article_that_applies_has_its_page_with_all_it_needs():
    for name, articles in ARTICLES.items():
        text = (ROOT / f"docs/rights/{name}.md").read_text("utf-8")
        parts = re.split(r'^## <a id="(\d+)"></a>', text, flags=re.MULTILINE)
        assert parts[1::2] == articles.split()
        for number, part in zip(parts[1::2], parts[2::2], strict=True):
            for line in ("| 大意 Gist |", "| 在这里 Here |", "| 须自办 Yours |", "由此实现 By:", "由此证明 Proved by:"):
                assert line in part, (name, number, line)
            assert LINE.search(part), (name, number)
            assert "::test_" in part, (name, number)


def test_what_is_named_there_is_there():
    routes = {f"{one.method} {one.path}" for one in calls(application().routes)}
    named = found(LINE)
    known = EXISTS | {"route": routes.__contains__}
    assert len(named) > 30
    assert [one for one in sorted(named) if not known[one[0]](one[1])] == []


def test_a_name_that_is_not_there_is_found():
    wrong = (
        "module agent.faces",
        "setting law.operater",
        "policy shop.minute",
        "camera zone.loiter",
        "right x",
        "command papers",
    )
    assert [EXISTS[kind](name) for kind, name in (one.split(" ", 1) for one in wrong)] == [False] * 5 + [True]


def test_every_test_that_is_named_there_is_one():
    named = sorted(found(r"`([\w/]+/?test_\w+\.py)::(\w+)[\w:]*`"))
    assert len(named) > 35
    wrong = []
    for file, name in named:
        path = ROOT / "tests" / file
        tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.Module([], [])
        defined = {getattr(node, "name", "") for node in tree.body}
        # a state machine's case is assigned
        defined |= {
            one.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for one in ast.walk(node.targets[0])
            if isinstance(one, ast.Name)
        }
        wrong += [] if name in defined and re.match("[Tt]est", name) else [f"{file}::{name}"]
    assert wrong == []


def test_no_code_of_ours_recognises_anybody():
    """Faces are found to be hidden. No library that recognises people or reads plates is imported, none is named."""
    wrong = []
    for path in SOURCES:
        text = path.read_text("utf-8")
        imported = re.findall(r"^\s*(?:from|import) (\w+)", text, flags=re.MULTILINE)
        wrong += [(path.name, one) for one in imported if one in RECOGNISERS]
        wrong += [(path.name, one[0]) for one in RECOGNISING.finditer(text)]
    assert wrong == []
    assert RECOGNISING.search("FaceRecognizerSF")


def test_no_message_says_who_somebody_is():
    """What boxes send has counts and places, and no field for a person, a track, a face or a plate."""
    models = {
        one
        for module in (messages, commands, desired)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, messages.Value)
    }
    assert len(models) > 15
    fields = {(one.__name__, name) for one in models for name in one.model_fields if PERSONAL.search(name)}
    assert fields - HARMLESS == set()


def test_what_everybody_may_call_shows_no_picture():
    """Signing in, the pages' own files, Open311; whatever is added here is looked at first."""
    public = {one.path.split("/")[1] for one in calls(application().routes) if PUBLIC in one.rights}
    # of Open311 and of streets' pages what their own tests say: no door, no shop, no picture
    assert public == {"sign-in", "static", "manifest.webmanifest", "sw.js", "open311", "street"}
    shown = [one for one in calls(application().routes) if re.search("evidence|picture", one.path)]
    assert len(shown) > 3
    assert all(one.rights and set(one.rights) <= set(MAY) for one in shown), shown


@pytest.mark.parametrize("module", ["agent.vision.runtime", "models.tools"])
def test_the_runtime_of_models_leaves_no_device_id_and_tells_nobody(module, tmp_path):
    """Events would lie in a database under the home folder until they are sent to its maker."""
    done = run(sys.executable, "-c", f"import {module}, onnxruntime", HOME=tmp_path, ORT_DISABLE_TELEMETRY="")
    assert done.returncode == 0, done.stderr
    assert not [*tmp_path.iterdir()]
