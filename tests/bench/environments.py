"""Environments of their own for what the agent is compared with: their OpenCV must not lie beside ours."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """Packages that are installed apart.

    Args:
        name: of its folder.
        packages: that pip installs, with what they need.
        ready: Python that runs once all is there.
        alone: packages that are installed without what they ask for.
        stub: name of a package that only has to seem to be there.
    """

    name: str
    packages: tuple[str, ...]
    ready: str
    alone: tuple[str, ...] = ()
    stub: str | None = None

    def python(self, cache: Path) -> Path | None:
        """Its interpreter, made where there is none; None where it cannot be made."""
        folder = (cache / self.name).absolute()
        python = folder / "bin/python"
        if python.exists() and _succeeds(python, "-c", self.ready):
            return python
        if not _succeeds(sys.executable, "-m", "venv", folder):
            return None
        if self.stub is not None:
            _pretend(next(folder.glob("lib/python3*/site-packages")), self.stub)
        pip = (python, "-m", "pip", "install", "--quiet")
        made = _succeeds(*pip, *self.packages) and (not self.alone or _succeeds(*pip, "--no-deps", *self.alone))
        return python if made and _succeeds(python, "-c", self.ready) else None


SUPERVISION = Environment(
    "rivals-venv",
    ("supervision==0.31.2", "trackers==2.6.1", "onnxruntime"),
    "import supervision, trackers, onnxruntime",
)
ULTRALYTICS = Environment(
    "ultralytics-venv",
    # of its own accord it would bring another torch, and gigabytes for cards that are not there
    (
        *("torch==2.13.0", "onnx", "onnxruntime", "lap", "opencv-python"),
        *("matplotlib", "pillow", "polars", "psutil", "pyyaml", "requests"),
    ),
    "from ultralytics import YOLO",
    alone=("ultralytics==8.4.190", "ultralytics-thop==2.2.3", "ultralytics-platform==0.1.99"),
    # what is on the index does not load beside torch for processors, and nothing of it is used
    stub="torchvision",
)


def _succeeds(*command: object) -> bool:
    return subprocess.run(list(map(str, command)), check=False, capture_output=True).returncode == 0


def _pretend(packages: Path, name: str) -> None:
    """Write an empty package."""
    about = packages / f"{name}-99.0.dist-info"
    for folder in (packages / name, about):
        folder.mkdir(exist_ok=True)
    (packages / name / "__init__.py").write_text('__version__ = "99.0"\n', "utf-8")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n", "utf-8")
