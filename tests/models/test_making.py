"""Making detectors, as far as it goes without torch: datasets, the pairing of boxes, cards, clear lines."""

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from agent.vision.detector import load_detector
from models.tools import yolo
from models.tools.card import HeldBack, Origin, write_card
from models.tools.datasets import read_dataset
from models.tools.evaluation import evaluate
from models.tools.photos import PhotoError
from tests import networks
from tests.services import BIN, run


def dataset(folder, photos=20, where="", label="0 0.5 0.5 0.2 0.2"):
    for kind in ("images", "labels"):
        (folder / kind / where).mkdir(parents=True, exist_ok=True)
    for n in range(photos):
        cv2.imwrite(str(folder / "images" / where / f"{n:02}.png"), np.zeros((32, 32, 3), np.uint8))
        (folder / "labels" / where / f"{n:02}.txt").write_text(label if n % 2 else "")
    return folder


def test_every_tenth_photo_is_held_back(tmp_path):
    read = read_dataset(dataset(tmp_path))
    assert [path.stem for path in read.held_back] == ["09", "19"]
    assert len(read.learned) == 18
    assert not set(read.learned) & set(read.held_back)
    assert read.names[0] == "person"
    assert read.photo(read.held_back[0]).labelled.boxes.shape == (1, 4)


def test_what_a_folder_holds_back_itself_is_held_back(tmp_path):
    dataset(tmp_path, 6, "train")
    dataset(tmp_path, 3, "val")
    (tmp_path / "classes.txt").write_text("stall\ntable\n")
    read = read_dataset(tmp_path)
    assert {path.parent.name for path in read.held_back} == {"val"}
    assert (len(read.learned), len(read.held_back), read.names) == (6, 3, {0: "stall", 1: "table"})


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "labels").rename(folder / "marks"), "expected a dataset in YOLO format"),
        (lambda folder: (folder / "classes.txt").write_text("stall"), "expected classes 0 to 0, got 3"),
        (lambda folder: (folder / "labels/01.txt").write_text("0 a b c d"), r"01.txt: line 1: expected class"),
        (lambda folder: [one.unlink() for one in (folder / "labels").iterdir()], "some with labels, found 20"),
        (lambda folder: [one.write_text("") for one in (folder / "images").iterdir()], "some with labels, found 0"),
    ],
)
def test_a_folder_that_is_no_dataset_is_one_line(tmp_path, spoil, expected):
    spoil(dataset(tmp_path, label="3 0.5 0.5 0.2 0.2"))
    with pytest.raises(PhotoError, match=expected):
        read_dataset(tmp_path)


PERSON = (10.0, 10.0, 20.0, 40.0)


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        ([], [], ([], 0)),
        ([(PERSON, 0.9, 0)], [(PERSON, 0.9, 0)], ([0.0], 0)),
        ([(PERSON, 0.9, 0)], [((10.0, 10.0, 20.5, 40.0), 0.9, 0)], ([0.5], 0)),
        ([(PERSON, 0.9, 0)], [(PERSON, 0.9, 1)], ([], 2)),  # another class
        ([(PERSON, 0.9, 0)], [], ([], 1)),
        ([], [(PERSON, 0.9, 0)], ([], 1)),
        ([(PERSON, 0.26, 0)], [], ([], 0)),  # on the edge of the threshold
        ([(PERSON, 0.9, 0)], [((30.0, 10.0, 40.0, 40.0), 0.9, 0)], ([], 2)),  # elsewhere
        ([(PERSON, 0.9, 0), (PERSON, 0.8, 0)], [(PERSON, 0.9, 0)], ([0.0], 1)),  # one box answers for one
    ],
)
def test_boxes_of_weights_and_of_the_exported_file_are_paired(theirs, ours, expected):
    assert yolo.match(theirs, ours, 0.27) == expected


def test_a_card_says_what_is_known_and_what_is_not(tmp_path):
    detector = load_detector(networks.bright_squares(tmp_path / "net.onnx"))
    origin = Origin("Made up.", "Apache-2.0", [("street", 12, 34)], {"seed": 7})
    write_card(tmp_path / "net.md", detector, origin, HeldBack(3, evaluate([]), 2, 1))
    text = (tmp_path / "net.md").read_text()
    for part in ("# `net.onnx`", "| classes | person |", "| input | 64 × 64 pixels |", "| seed | 7 |", detector.sha256):
        assert part in text
    assert "| street | 12 | 34 |" in text
    assert "2 boxes in 1 photos that show nothing" in text
    assert "**Where it fails** nobody has looked at" in text
    write_card(tmp_path / "net.md", detector, origin, None)
    assert "was not measured" in (tmp_path / "net.md").read_text()


@pytest.mark.skipif(find_spec("ultralytics") is not None, reason="it is installed here")
def test_without_the_extra_each_command_says_so_in_one_line(tmp_path):
    folder, weights = dataset(tmp_path / "set"), tmp_path / "yolo26n.pt"
    weights.write_bytes(b"")
    out = ["--out", tmp_path / "net.onnx"]
    for arguments in (
        ["export", weights, *out],
        ["train", folder, *out, "--family", "yolo26n"],
        ["finetune", weights, folder, *out],
        ["train", folder, *out],
    ):
        done = run(BIN / "cityeye-models", *arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "pip install 'cityeye[models]'" in done.stderr


def test_what_would_fail_after_hours_or_cost_weights_is_said_at_once(tmp_path):
    folder, weights = dataset(tmp_path / "set"), tmp_path / "net.pt"
    weights.write_bytes(b"")
    for arguments, expected in (
        (["train", folder, "--out", tmp_path / "net.pt"], "expected a name that ends with .onnx"),
        (["train", folder, "--out", tmp_path / "gone/net.onnx"], "expected a folder"),
        (["finetune", weights, folder, "--out", tmp_path / "net.onnx"], "would be written over"),
        (["train", folder, "--out", tmp_path / "a.onnx", "--family", "yolo26n", "--imgsz", "600"], "multiples of 32"),
    ):
        done = run(BIN / "cityeye-models", *arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert expected in done.stderr


@pytest.mark.parametrize("imgsz", ["big", "640x", "100", "0x64"])
def test_a_size_that_is_none_is_one_line(tmp_path, imgsz):
    (tmp_path / "net.pt").write_bytes(b"")
    done = run(BIN / "cityeye-models", "export", tmp_path / "net.pt", "--imgsz", imgsz, "--photos", tmp_path)
    assert done.returncode == 2
    assert "--imgsz: expected" in done.stderr or "expected photos" in done.stderr
