"""Exporting and training with ultralytics, as a person does it. Runs only where the extra `models` is installed."""

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from agent.vision.detector import load_detector
from models.commands import app

ultralytics = pytest.importorskip("ultralytics")


def command(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Bright blocks on dark ground: something that is learned in a minute."""
    folder, rng = tmp_path_factory.mktemp("set"), np.random.default_rng(1)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for n in range(60):
        rgb, rows = rng.integers(0, 50, (128, 128, 3)).astype(np.uint8), []
        for _ in range(int(rng.integers(1, 4))):
            x, y = rng.integers(0, 88, 2)
            rgb[y : y + 40, x : x + 40] = (250, 200, 180)
            rows.append(f"0 {(x + 20) / 128} {(y + 20) / 128} {40 / 128} {40 / 128}")
        cv2.imwrite(str(folder / f"images/{n:02}.png"), rgb)
        (folder / f"labels/{n:02}.txt").write_text("\n".join(rows))
    return folder


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("family", "layout"), [("yolo26n", "end-to-end"), ("yolo11n", "anchor-free")])
def test_a_family_is_trained_and_answers_as_onnx_as_it_does_as_weights(dataset, tmp_path, family, layout):
    done = command(
        "train", dataset, "--out", tmp_path / "net.onnx", "--family", family, "--imgsz", "128", "--epochs", "30"
    )
    assert done.exit_code == 0, done.output
    detector = load_detector(tmp_path / "net.onnx")
    assert (detector.layout, detector.input_size, detector.names[0]) == (layout, (128, 128), "person")
    assert "mAP50-95" in (tmp_path / "net.md").read_text()
    again = command("export", tmp_path / "net.pt", "--imgsz", "96x160", "--photos", dataset / "images")
    assert again.exit_code == 0, again.output
    assert load_detector(tmp_path / "net-96x160.onnx").input_size == (160, 96)
    assert "0 boxes" not in again.output
    tuned = command(
        "finetune", tmp_path / "net.pt", dataset, "--out", tmp_path / "fine.onnx", "--imgsz", "128", "--epochs", "1"
    )
    assert tuned.exit_code == 0, tuned.output
    assert "`net.pt`, trained on." in (tmp_path / "fine.md").read_text()


def test_weights_that_are_none_are_one_line(tmp_path):
    (tmp_path / "net.pt").write_text("no weights")
    done = command("export", tmp_path / "net.pt")
    assert done.exit_code == 2
    assert "net.pt: expected weights of ultralytics" in done.output
    assert not (tmp_path / "net-640.onnx").exists()


def test_the_own_network_learns_from_a_folder(dataset, tmp_path):
    done = command("train", dataset, "--out", tmp_path / "own.onnx", "--minutes", "0.3")
    assert done.exit_code == 0, done.output
    assert load_detector(tmp_path / "own.onnx").names == {0: "person"}
    assert "The project's own network" in (tmp_path / "own.md").read_text()
