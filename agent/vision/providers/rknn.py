"""RKNN: the NPU of Rockchip's boards, through `rknn-toolkit-lite2`.

It runs no ONNX: a file `NAME.rknn` beside the ONNX file, converted from it on another machine by `rknn-toolkit2`
without mean and scale of its own, so that it takes the same blob. Never run on such a board by this project so far.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.vision.providers.network import Network, Plan, Precision, ProviderError, Size
from models.catalogue import name_of


@dataclass(frozen=True)
class _Network:
    _runtime: Any
    _shape: Sequence[object]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def shape(self) -> Sequence[object]:
        return self._shape

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        with self._lock:
            answers = self._runtime.inference(inputs=[blob], data_format="nchw")
        if not answers:
            raise ProviderError("the NPU gave no answer")
        return np.asarray(answers[0], np.float32)


@dataclass(frozen=True)
class Rknn:
    """On the NPU; its precision was settled when the file was converted."""

    name: str = "rknn"
    precisions: Sequence[Precision] = ("float32",)
    version: str = "rknn-toolkit-lite2"

    def missing(self) -> str | None:
        """Look for the package."""
        return None if find_spec("rknnlite") else "the package rknn-toolkit-lite2 is not installed"

    def open(self, path: Path, content: bytes, plan: Plan, size: Size | None) -> Network:
        """Load the file beside the ONNX file."""
        del content, plan
        converted = path.with_name(f"{name_of(path)}.rknn")
        if not converted.is_file():
            raise ProviderError(f"expected {converted.name} beside it, found none; convert it with rknn-toolkit2")
        if size is None:
            raise ProviderError("expected `imgsz` in the ONNX file's metadata, found none; export it with metadata")
        try:
            from rknnlite.api import RKNNLite  # noqa: PLC0415 - only on such a board

            runtime = RKNNLite()
            failed = runtime.load_rknn(str(converted)) or runtime.init_runtime()
        except Exception as fault:  # noqa: BLE001 - its library and the driver raise whatever they meet
            raise ProviderError(f"the NPU does not work ({type(fault).__name__})") from None
        if failed:
            raise ProviderError(f"the NPU cannot load {converted.name}")
        return _Network(runtime, [1, 3, size[1], size[0]])
