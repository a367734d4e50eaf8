"""What the guides tell people to type is what the programs take."""

import re
import shlex
from urllib.parse import unquote

import pytest
import typer

from agent.box.standing import TROUBLES
from agent.commands import app as agent
from collector.start import command_line
from models.commands import app as models
from tests.services import ROOT

PROGRAMS = {
    name: typer.main.get_command(app)
    for name, app in {"cityeye-agent": agent, "cityeye-collector": command_line(), "cityeye-models": models}.items()
}
GUIDES = sorted((ROOT / "docs/guide").glob("*.md"))
CENTER = re.compile(r"^center (?!\()(.*)")
"""The guides' own word for the collector's command, with its settings."""
TYPED = re.compile(r"(cityeye-(?:agent|collector|models) .*)")
ENDS = re.compile(r" [|>&;]| 2>|;(?= |$)|\)")


def commands(text: str) -> list[list[str]]:
    """Program and arguments of each line of the shell's blocks."""
    found = []
    for block in re.findall(r"(?ms)^ *```sh\n(.*?)^ *```", text):
        for line in block.replace("\\\n", " ").splitlines():
            bare = re.sub(r"\$\([^)]*\)", "x", re.sub(r"(^| )#.*", "", line)).strip()
            for part in re.split(" && |; ", bare):
                whole = CENTER.sub(r"cityeye-collector \1 --settings x", part.removeprefix("do "))
                found += [shlex.split(ENDS.split(one)[0]) for one in TYPED.findall(whole)]
    return [one for one in found if not {"…", "$@"} & {*one}]


def fault(program: str, args: list[str]) -> str | None:
    """Why it is not taken; it is not run."""
    command = PROGRAMS[program]
    context = command.context_class(command)
    try:
        while hasattr(command, "resolve_command"):
            _, command, args = command.resolve_command(context, args)
        command.make_context(command.name, list(args), parent=context)
    except Exception as problem:  # noqa: BLE001 - typer has a click of its own that it does not show
        return None if "does not exist" in str(problem) else f"{problem}" or type(problem).__name__
    return None


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_each_command_of_a_guide_is_one_that_its_program_takes(path):
    typed = commands(path.read_text("utf-8"))
    assert not [(one, why) for one in typed if (why := fault(one[0], one[1:]))]


@pytest.mark.parametrize("line", ["center evidenc verify", "center boxes add --sites x", "cityeye-agent doctor"])
def test_a_command_that_is_none_is_found(line):
    [(program, *args)] = commands(f"```sh\n{line}\n```\n")
    assert fault(program, args)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_links_of_a_guide_lead_somewhere(path):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", path.read_text("utf-8")):
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{path.name}: {target}"
        if anchor and there.suffix == ".md":
            heads = re.findall(r"(?m)^#+ (.*)", there.read_text("utf-8"))
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert unquote(anchor) in slugs | set(re.findall(r'id="([^"]+)"', there.read_text("utf-8"))), anchor


def test_each_picture_is_shown_by_a_guide_or_a_readme():
    shown = "".join(path.read_text("utf-8") for path in [*GUIDES, *ROOT.glob("README*.md")])
    assert not [path.name for path in (ROOT / "docs/pictures").iterdir() if f"pictures/{path.name})" not in shown]


def test_the_light_means_what_guide_and_card_say():
    card = re.findall(r"(?m)^(\d)  (.+)：.+\n   (.+?): ", (ROOT / "deploy/image/card/README.txt").read_text("utf-8"))
    guide = re.findall(r"(?m)^\| (\d) \| (.+?) · (.+?) \|", (ROOT / "docs/guide/flash.md").read_text("utf-8"))
    codes = [(str(code), *reversed(text.split("|"))) for code, text in TROUBLES.items()]
    assert card == guide == codes
