"""What is known of models."""

from models.catalogue import COCO_NAMES, load_catalogue
from tests.services import BIN, run


def test_the_catalogue_is_whole():
    entries = load_catalogue()
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.task in ("detect", "faces")
        assert entry.licence
        # what was never at hand has neither checksum nor figures
        assert (entry.sha256 is None) == (entry.size is None)
        assert entry.verified or entry.measured is None
        assert entry.sha256 is None or len(entry.sha256) == 64
    assert len(COCO_NAMES) == len(set(COCO_NAMES)) == 80
    assert (COCO_NAMES[0], COCO_NAMES[79]) == ("person", "toothbrush")


def test_list_names_licences_and_what_is_here(detectors, tmp_path):
    done = run(BIN / "cityeye-models", "list", CITYEYE_MODELS=str(detectors))
    assert done.returncode == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert "AGPL-3.0" in rows["yolo26n-640"]
    assert "Apache-2.0" in rows["yolox-nano-416"]
    assert f"here: {detectors}/yunet-s-640.onnx" in rows["yunet-s-640"]
    (tmp_path / "yolo26n-640.onnx").write_bytes(b"another")
    (tmp_path / "mine.onnx").write_bytes(b"my own")
    done = run(BIN / "cityeye-models", "list", CITYEYE_MODELS=str(tmp_path))
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert "another file of this name" in rows["yolo26n-640"]
    assert "unknown" in rows["mine"]


def test_list_without_models_says_what_to_do():
    done = run(BIN / "cityeye-models", "list", CITYEYE_MODELS="")
    assert "CITYEYE_MODELS is not set" in done.stdout
