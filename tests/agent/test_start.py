"""The start of a box: the center hears of it before what sees is loaded."""

import subprocess
import sys

HEAVY = {"numpy", "cv2", "onnxruntime", "agent.live", "agent.commands", "rich"}


def test_a_start_opens_its_line_without_what_sees():
    code = "import sys, agent.start; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & {*done.stdout.split()}
