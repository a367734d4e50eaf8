"""`cityeye-agent bench`: what it says where it cannot measure, and counting processes that come and go."""

import os
import subprocess

import pytest

from agent.bench import tree, tree_cpu_s, tree_pss_bytes
from tests import boxes
from tests.services import BIN, run

AGENT = BIN / "cityeye-agent"


@pytest.mark.parametrize("detector", ["none", None])
@pytest.mark.parametrize("beside", [False, True])
def test_a_clip_that_does_not_decode_is_told_in_one_line(tmp_path, street, detector, beside):
    """Also where another one is good, and something would come out."""
    clip = tmp_path / "text.mp4"
    clip.write_bytes(b"hello\n" * 99)
    good = [street] if beside else []
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, model=detector)
    done = run(
        AGENT, "bench", *good, clip, "--cameras", 1 + beside, "--settings", settings, "--minutes", 0.1, timeout_s=90
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cityeye-agent: {clip}: expected a video that FFmpeg can read, got something else\n"


def test_processes_that_have_ended_count_for_nothing():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still listed
    assert child.pid in tree(os.getpid())
    assert tree_pss_bytes() > 0
    assert tree_pss_bytes(child.pid) == 0
    assert tree_cpu_s(child.pid) < 1
    child.wait()
    assert tree(child.pid) == [child.pid]
    assert (tree_pss_bytes(child.pid), tree_cpu_s(child.pid)) == (0, 0)
