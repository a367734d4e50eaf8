"""The commands that look at photos, as a person runs them."""

import json

import cv2
import numpy as np
import pytest

from agent.vision.detector import load_detector
from tests import clips, networks
from tests.services import BIN, run

# x1 y1 x2 y2 score class in pixels of a 64 × 64 input: two people and a bicycle
TWO = [(10.0, 20.0, 20.0, 50.0, 0.9, 0), (40.0, 20.0, 50.0, 50.0, 0.8, 0), (30.0, 30.0, 34.0, 34.0, 0.9, 1)]


def models(*arguments, **environment):
    return run(BIN / "cityeye-models", *arguments, **environment)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), clips.street_frame(0.0)[:, :, ::-1])
    return path


@pytest.fixture
def detector(tmp_path):
    return networks.end_to_end(tmp_path / "two.onnx", TWO)


def test_count_says_one_line_for_each_photo(photo, detector):
    done = models("count", photo, photo, "--model", detector, "--json")
    assert done.returncode == 0, done.stderr
    for said in lines(done):
        assert set(said) == {"file", "count", "lower_bound", "ms"}
        assert said["file"] == str(photo)
        # the same answer for the whole and for each quarter; in the upper ones the lower edge cuts the two
        assert said["count"] == 6
        assert said["lower_bound"] is False
        assert said["ms"] > 0
    assert len(lines(done)) == 2
    assert f"{photo}: 6 (" in models("count", photo, "--model", detector).stdout


def test_a_full_look_is_a_lower_bound(photo, tmp_path):
    rows = [(3.0 * n, 20.0, 3.0 * n + 2, 40.0, 0.8, 0) for n in range(1, 13)]
    done = models("count", photo, "--model", networks.end_to_end(tmp_path / "many.onnx", rows), "--json")
    assert lines(done)[0]["lower_bound"] is True
    assert "at least" in models("count", photo, "--model", tmp_path / "many.onnx").stdout


def test_the_own_counter_needs_no_folder_of_models(photo):
    done = models("count", photo, "--model", "crowd", "--json", CITYEYE_MODELS="")
    assert done.returncode == 0, done.stderr
    (said,) = lines(done)
    assert said["count"] <= 2  # an empty pavement
    assert said["lower_bound"] is False


def test_a_photo_that_is_none_does_not_stop_the_others(photo, detector, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    done = models("count", tmp_path / "absent.jpg", text, empty, tmp_path, photo, "--model", detector, "--json")
    assert done.returncode == 1
    assert [said["file"] for said in lines(done)] == [str(photo)]
    errors = done.stderr.splitlines()
    assert len(errors) == 4
    for name, line in zip(["absent.jpg", "text.jpg", "empty.jpg", str(tmp_path)], errors, strict=True):
        assert name in line
        assert "expected a photo" in line


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3)])
@pytest.mark.parametrize("own", [True, False])
def test_photos_of_odd_shapes_are_counted(tmp_path, detector, size, own):
    path = tmp_path / "odd.png"
    cv2.imwrite(str(path), np.full((*size, 3), 90, np.uint8))
    done = models("count", path, "--model", "crowd" if own else detector, "--json")
    assert done.returncode == 0, done.stderr
    assert len(lines(done)) == 1


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("yolo26n", "expected yolo26n.onnx in"),
        ("absent.onnx", "expected an ONNX file, found none"),
        ("broken.onnx", "it is no protocol buffer"),
        ("strange.onnx", "this layout is not known"),
        ("faces.onnx", "expected a model for detection, got one for 'pose'"),
        ("numbers.onnx", "expected numbers as width and gain"),
    ],
)
@pytest.mark.parametrize("command", ["count", "evaluate"])
def test_a_model_that_is_none_is_one_line(command, model, error, photo, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    networks.fixed(tmp_path / "strange.onnx", np.zeros((1, 3, 5), np.float32))
    networks.end_to_end(tmp_path / "faces.onnx", TWO, task="pose")
    networks.fixed(tmp_path / "numbers.onnx", np.zeros((1, 1, 8, 8), np.float32), task="count", gain="much")
    path = tmp_path / model if model.endswith(".onnx") else model
    (tmp_path / "photos").mkdir()
    arguments = {
        "count": ["count", photo, "--model", path],
        "evaluate": ["evaluate", path, "--images", tmp_path / "photos", "--labels", tmp_path / "photos"],
    }
    done = models(*arguments[command], CITYEYE_MODELS=str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert error in done.stderr


@pytest.fixture
def labelled(tmp_path, photo):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    photo.rename(tmp_path / "images" / "street.png")
    # the detector's answer, letterboxed: 640 × 360 lies at 14 to 50 of 64 rows
    rows = [(x1, max(y1, 14), x2, min(y2, 50), number) for x1, y1, x2, y2, _, number in TWO]
    text = "".join(
        f"{number} {(x1 + x2) / 128} {((y1 + y2) / 2 - 14) / 36} {(x2 - x1) / 64} {(y2 - y1) / 36}\n"
        for x1, y1, x2, y2, number in rows
    )
    (tmp_path / "labels" / "street.txt").write_text(text)
    return ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]


def test_evaluate_gives_average_precisions(labelled, detector):
    done = models("evaluate", detector, *labelled, "--json")
    assert done.returncode == 0, done.stderr
    (said,) = lines(done)
    assert said["mAP50"] == pytest.approx(1, abs=1e-3)
    assert said["mAP50-95"] == pytest.approx(1, abs=0.05)
    assert said["AP50"] == {"person": 1.0, "bicycle": 1.0}
    assert said["images"] == 1
    assert said["ms"] > 0
    assert "mAP50-95" in models("evaluate", detector, *labelled).stdout


def test_a_photo_without_a_label_file_shows_nothing(labelled, detector, tmp_path):
    (tmp_path / "labels" / "street.txt").unlink()
    (said,) = lines(models("evaluate", detector, *labelled, "--json"))
    assert said["mAP50"] == 0


@pytest.mark.parametrize(
    "text",
    [b"0 0.5 0.5 wide 0.2", b"0 0.5", b"\xff\xfe", b"-1 0.5 0.5 0.1 0.1", b"0.5 0.5 0.5 0.1 0.1", b"0 nan 0 0 0"],
)
def test_a_label_that_is_none_is_one_line(labelled, detector, tmp_path, text):
    (tmp_path / "labels" / "street.txt").write_bytes(b"0 0.5 0.5 0.1 0.1\n" + text)
    done = models("evaluate", detector, *labelled, "--json")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "street.txt: line 2: expected class, centre x" in done.stderr


def test_an_empty_folder_and_a_counter_are_refused(tmp_path, detector):
    folder = ["--images", tmp_path, "--labels", tmp_path]
    (tmp_path / "none").mkdir()
    done = models("evaluate", detector, "--images", tmp_path / "none", "--labels", tmp_path / "none")
    assert done.returncode == 2
    assert "expected photos, found none" in done.stderr
    done = models("evaluate", "crowd", *folder)
    assert done.returncode == 2
    assert "expected a detector, got a counter of crowds" in done.stderr


def test_a_real_crowd(shared, detectors):
    """The own counter comes near; a detector says that there are more than it sees."""
    marks = json.loads((shared / "crowd/heads.json").read_text())
    names = sorted(name for name in marks if name.startswith("test_"))[:3]
    photos = [shared / "crowd/images" / name for name in names]
    for name, said in zip(names, lines(models("count", *photos, "--model", "crowd", "--json")), strict=True):
        assert abs(said["count"] - len(marks[name])) < 0.5 * len(marks[name])
        assert not said["lower_bound"]
    done = models("count", *photos, "--model", "yolo26n-640", "--json", CITYEYE_MODELS=str(detectors))
    for name, said in zip(names, lines(done), strict=True):
        assert said["lower_bound"]
        assert 10 < said["count"] <= len(marks[name])


def test_compare_says_that_a_model_is_as_good_as_itself(photo, tmp_path):
    networks.end_to_end(tmp_path / "good.onnx", TWO)
    networks.end_to_end(tmp_path / "copy.onnx", TWO)
    networks.end_to_end(tmp_path / "blind.onnx", [])
    networks.end_to_end(tmp_path / "other.onnx", TWO, names="{0: 'stall'}")
    for name in ("photos", "labels"):
        (tmp_path / name).mkdir()
    found = load_detector(tmp_path / "good.onnx").detect(np.zeros((64, 64, 3), np.uint8))
    for n in range(6):
        cv2.imwrite(str(tmp_path / f"photos/{n}.png"), np.zeros((64, 64, 3), np.uint8))
        boxes = zip(found.classes, found.boxes, strict=True)
        rows = [f"{kind} {x + w / 2} {y + h / 2} {w} {h}" for kind, (x, y, w, h) in boxes]
        (tmp_path / f"labels/{n}.txt").write_text("\n".join(rows))

    def said(a, b):
        folders = ("--images", tmp_path / "photos", "--labels", tmp_path / "labels")
        return models("compare", tmp_path / a, tmp_path / b, *folders, "--resamples", "100", "--json")

    same = json.loads(said("good.onnx", "copy.onnx").stdout)
    assert (same["better"], same["difference"], same["interval95"]) == ("no difference", 0.0, [0.0, 0.0])
    worse = json.loads(said("good.onnx", "blind.onnx").stdout)
    assert (worse["better"], worse["a"]["mAP50-95"], worse["b"]["mAP50-95"]) == ("A", 1.0, 0.0)
    refused = said("good.onnx", "other.onnx")
    assert (refused.returncode, "expected some classes with the same number and name" in refused.stderr) == (2, True)
