"""Fitting a detector to the machine: `tune` and `quantise`, as a person runs them."""

import json
import time

import cv2
import numpy as np
import onnx
import pytest

from agent.vision.detector import load_detector
from agent.vision.providers import PROVIDERS, Plan
from agent.vision.selection import open_detector
from models.tools import tuning
from models.tools.evaluation import Labelled
from models.tools.photos import PhotoError
from models.tools.tuning import Candidate, Choice, Deadline, Trial
from tests import networks
from tests.services import BIN, run


def models(*arguments, **environment):
    return run(BIN / "cityeye-models", *arguments, **environment)


@pytest.fixture
def photos(tmp_path):
    """Pictures with bright squares, and where they are."""
    rng = np.random.default_rng(3)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for n in range(12):
        rgb, rows = networks.squares(rng)
        cv2.imwrite(str(tmp_path / f"images/{n}.png"), rgb)
        (tmp_path / f"labels/{n}.txt").write_text(rows)
    return ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]


def test_tune_writes_what_the_agent_reads(tmp_path, photos):
    networks.bright_squares(tmp_path / "net.onnx", None)
    began_s = time.monotonic()
    done = models("tune", tmp_path / "net.onnx", *photos, "--minutes", "1", "--json")
    assert time.monotonic() - began_s < 75
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["notice"] == str(tmp_path / "net.tuned.json")
    assert said["ms"] <= said["default_ms"]
    # smaller inputs, on which squares are not squares of eight pixels any more, lose everything
    assert said["size"] == [64, 64]
    for one in PROVIDERS:
        assert f"{one.name}: skipped, " in done.stderr or f", {one.name} " in done.stderr
    assert open_detector(tmp_path / "net.onnx", environment={}).input_size == (64, 64)


def test_without_photos_nothing_that_could_change_the_answers_is_chosen(tmp_path):
    networks.bright_squares(tmp_path / "net-64.onnx")
    networks.bright_squares(tmp_path / "net-32.onnx", 32)
    done = models("tune", tmp_path / "net-64.onnx", "--minutes", "0.4", "--json")
    said = json.loads(done.stdout)
    assert (said["file"], said["plan"]["precision"]) == ("net-64.onnx", "float32")
    assert "net-32 32x32" in done.stderr


def test_the_family_of_a_file(tmp_path):
    for name in ("yolo26n-640", "yolo26n-384x640", "yolo26n-640-int8", "yolo26s-640", "own", "own-2"):
        (tmp_path / f"{name}.onnx").touch()
    assert [one.stem for one in tuning.family(tmp_path / "yolo26n-640.onnx")] == [
        "yolo26n-640",
        "yolo26n-384x640",
        "yolo26n-640-int8",
    ]
    assert [one.stem for one in tuning.family(tmp_path / "own.onnx")] == ["own"]
    # 8 bits of it belong to it, another version does not; they may lie in another folder
    (tmp_path / "other").mkdir()
    for name in ("own-int8", "own-3"):
        (tmp_path / f"other/{name}.onnx").touch()
    assert [one.stem for one in tuning.family(tmp_path / "own.onnx", tmp_path / "other")] == ["own", "own-int8"]
    assert [one.stem for one in tuning.family(tmp_path / "own-2.onnx", tmp_path / "other")] == ["own-2"]


def test_of_those_that_are_fast_the_first_that_is_good_enough_is_taken(tmp_path):
    path = networks.bright_squares(tmp_path / "net.onnx")
    base, bad, good = (Candidate(path, (64, 64), Plan(threads=n)) for n in (0, 1, 2))
    ranked = [Trial(bad, 1.0), Trial(good, 2.0), Trial(base, 3.0)]
    lines = []
    judge = {bad: 1.2, good: 0.9}.__getitem__
    choice = tuning.choose(base, ranked, judge, 1.0, Deadline(float("inf")), lines.append)
    # the paired run decides in the end; both are one file here
    assert choice.candidate in (good, base)
    assert choice.ms <= choice.default_ms
    assert lines[0] == "net 64x64, cpu float32, 1 threads: not used, mAP falls by 1.2 points"
    late = tuning.choose(base, ranked, judge, 1.0, Deadline(0.0), lines.append)
    assert late == Choice(base, 3.0, 3.0)


def test_judging_ends_in_time(tmp_path):
    path = networks.bright_squares(tmp_path / "net.onnx")
    base = Candidate(path, (64, 64), Plan())
    pictures = [(networks.squares(np.random.default_rng(n))[0], None) for n in range(3)]
    assert tuning.by_photos(base, pictures, Deadline(float("inf")))(base) == pytest.approx(0)
    assert tuning.by_photos(base, pictures, Deadline(0.0))(base) == float("inf")


def test_photos_that_show_nothing_judge_nothing(tmp_path):
    base = Candidate(networks.bright_squares(tmp_path / "net.onnx"), (64, 64), Plan())
    dark = np.zeros((64, 64, 3), np.uint8)
    nothing = Labelled(np.zeros((0, 4)), np.zeros(0, np.int64))
    for labelled in (None, nothing):
        with pytest.raises(PhotoError, match="expected photos that show what the detector knows"):
            tuning.by_photos(base, [(dark, labelled)], Deadline(float("inf")))


def test_numbers_of_threads_are_tried_for_what_answers_the_same(tmp_path):
    base = tuning.default(networks.bright_squares(tmp_path / "net.onnx", None))
    done = tuning.trials(base, Deadline(float("inf")), lambda _: None)
    assert {1, 2} <= {one.candidate.plan.threads for one in done if one.candidate.reckons_as(base)}


@pytest.mark.parametrize("wild", [False, True])
def test_quantise_leaves_out_what_eight_bits_would_spoil(tmp_path, photos, wild):
    path = networks.bright_squares(tmp_path / "net.onnx", wild=wild)
    done = models("quantise", path, *photos, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["points"] <= 1.0
    assert (said["left_out"] > 0) == wild
    kept = tmp_path / "net-int8.onnx"
    # whether it is faster is this machine's affair; that it is kept only then is ours
    assert kept.exists() == (said["path"] is not None) == (said["ms"] < said["default_ms"])
    if kept.exists():
        kinds = {node.op_type for node in onnx.load(kept).graph.node}
        assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
        assert load_detector(kept).names == {0: "person"}


def test_quantise_keeps_nothing_that_is_too_bad(tmp_path, photos):
    done = models("quantise", networks.fixed(tmp_path / "net.onnx", np.zeros((1, 20, 6))), *photos)
    assert done.returncode == 2
    assert "expected convolutions or products of matrices, found none" in done.stderr
    assert not (tmp_path / "net-int8.onnx").exists()


def test_photos_that_are_none_are_one_line(tmp_path):
    path = networks.bright_squares(tmp_path / "net.onnx")
    (tmp_path / "none").mkdir()
    for command in ("tune", "quantise"):
        done = models(command, path, "--images", tmp_path / "none")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].endswith("none: expected photos, found none")
