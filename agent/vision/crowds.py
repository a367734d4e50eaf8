"""Counting crowds that no detector can count: a network that says how many heads each spot of a picture holds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from agent.vision.errors import DetectorError
from agent.vision.onnx_file import inspect, refusal
from agent.vision.runtime import open_network
from models.catalogue import name_of, own_path, read_model

OWN: Final = "crowd"
"""The counter that ships with the project."""
TASK: Final = "count"
"""What the metadata of a counter's ONNX file says."""
MULTIPLE: Final = 16


@dataclass(frozen=True, eq=False)
class Density:
    """Heads per cell, shape `(rows, columns)`; the cells cover the whole picture evenly."""

    heads: NDArray[np.float32]

    @property
    def count(self) -> float:
        """Heads in the whole picture."""
        return float(self.heads.sum())

    def within(self, mask: NDArray[np.bool_]) -> float:
        """Heads inside a mask of any size over the whole picture."""
        rows, columns = self.heads.shape
        share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        return float((self.heads * share).sum())


@dataclass(frozen=True)
class CrowdCounter:
    """A loaded counter; may be used by several threads."""

    name: str
    width_px: int
    """Width at which it looks at a picture of 4 : 3; other pictures get as many pixels."""
    gain: float
    """What its answer is multiplied with; fitted on photos that were held back from training."""
    _session: Any = field(repr=False)

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Size at which it wants a picture of this size."""
        scale = (self.width_px * self.width_px * 0.75 / (width * height)) ** 0.5
        across, down = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in (width, height))
        return across, down

    def look(self, rgb: NDArray[np.uint8]) -> Density:
        """Count in a picture of shape `(h, w, 3)`."""
        sides = self.fit(rgb.shape[1], rgb.shape[0])
        method = cv2.INTER_AREA if sides[0] < rgb.shape[1] else cv2.INTER_LINEAR
        fitted = cv2.resize(rgb, sides, interpolation=method)
        blob = np.ascontiguousarray(fitted.transpose(2, 0, 1)[None]).astype(np.float32) / 255
        heads = self._session.run(None, {self._session.get_inputs()[0].name: blob})[0]
        return Density(np.asarray(heads, np.float32).reshape(heads.shape[-2:]) * np.float32(self.gain))


def is_counter(path: Path) -> bool:
    """Say whether a file is a counter rather than a detector: its metadata tells."""
    try:
        return inspect(read_model(path)).metadata.get("task") == TASK
    except (OSError, ValueError):
        return False  # whoever loads it says what is wrong


def load_counter(path: Path | None = None, threads: int = 0) -> CrowdCounter:
    """Load a counter; None: the project's own one. Raises DetectorError."""
    path = path or own_path(OWN)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # it is asked now and then: what it needs meanwhile is given back
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        content = read_model(path)
    except OSError as fault:
        raise DetectorError(f"{path}: expected an ONNX counter, it cannot be read ({fault.strerror})") from None
    if refused := refusal(content):
        raise DetectorError(f"{path}: {refused}")
    try:
        session = open_network(content, options)
    except Exception as fault:  # noqa: BLE001 - ONNX Runtime's own classes share nothing but Exception
        raise DetectorError(
            f"{path}: expected an ONNX counter, ONNX Runtime cannot load it ({type(fault).__name__})"
        ) from None
    meta = session.get_modelmeta().custom_metadata_map
    if meta.get("task") != TASK:
        raise DetectorError(f"{path}: expected a counter (task {TASK!r}), got task {meta.get('task')!r}")
    try:
        width_px, gain = int(meta.get("width", "768")), float(meta.get("gain", "1"))
    except ValueError:
        raise DetectorError(
            f"{path}: expected numbers as width and gain in its metadata, "
            f"got {meta.get('width')!r} and {meta.get('gain')!r}; export it again"
        ) from None
    return CrowdCounter(name_of(path), width_px, gain, session)
