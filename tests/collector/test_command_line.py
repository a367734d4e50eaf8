"""The command line: each word loads its own room."""

import subprocess
import sys

import pytest

from collector.start import COMMANDS
from tests.services import BIN

HEAVY = {"fastapi", "reportlab", "uvicorn", "collector.web.app", "collector.commands"}
LIGHT = {"people", "boxes", "settings", "shops", "policies"}
ROOMS = {place.partition(":")[0]: word for word, place in COMMANDS.items()}


@pytest.mark.parametrize("word", sorted({*ROOMS.values()} | LIGHT))
def test_a_command_loads_its_own_room_alone(word):
    code = f"import sys; from collector.start import command_line; command_line(['{word}']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert word not in LIGHT or not HEAVY & {*done.stdout.split()}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "serve"),
        (("--help",), 0, "dataset"),
        (("--version",), 0, "cityeye-collector "),
        (("people", "--help"), 0, "roles"),
        (("none-such",), 2, "none-such"),
    ],
)
def test_all_words_are_told_of(words, code, text):
    done = subprocess.run([BIN / "cityeye-collector", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert text in done.stdout + done.stderr
