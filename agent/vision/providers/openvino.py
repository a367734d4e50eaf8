"""OpenVINO, Intel's runtime, which is fast on AMD's processors as well; on ARM it runs too."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from queue import LifoQueue
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.providers.network import Network, Plan, Precision, ProviderError, Size

DEVICE: Final = "CPU"
_HINTS: Final[dict[Precision, str]] = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_CAPABILITIES: Final[dict[Precision, str]] = {"float16": "FP16", "bfloat16": "BF16"}


@cache
def _core() -> Any:
    import openvino  # noqa: PLC0415 - a machine may lack it

    return openvino.Core()


@dataclass(frozen=True)
class _Network:
    _compiled: Any
    _shape: Sequence[object]
    # a request belongs to one inference at a time; forty threads with one each would take half a gigabyte
    _free: LifoQueue[Any] = field(repr=False)

    @property
    def shape(self) -> Sequence[object]:
        return self._shape

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        request = self._free.get()
        try:
            request.infer([blob])
            return np.array(request.get_output_tensor(0).data, np.float32)
        finally:
            self._free.put(request)


@dataclass(frozen=True)
class OpenVino:
    """On the processor."""

    name: str = "openvino"

    @property
    def precisions(self) -> Sequence[Precision]:
        """Those that the processor has instructions for."""
        able = _core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
        return ("float32", *(precision for precision, word in _CAPABILITIES.items() if word in able))

    @property
    def version(self) -> str:
        """Of the package."""
        try:
            return f"openvino {version('openvino')}"
        except PackageNotFoundError:
            return "openvino"

    def missing(self) -> str | None:
        """Look for the package."""
        if not find_spec("openvino"):
            return "the package openvino is not installed; pip install openvino"
        try:
            _core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
        except Exception as fault:  # noqa: BLE001 - a broken installation raises whatever it meets
            return f"the package openvino does not work ({type(fault).__name__}); install it again"
        return None

    def open(self, path: Path, content: bytes, plan: Plan, size: Size | None) -> Network:
        """Load a file."""
        del path
        try:
            model = _core().read_model(content)
            shape = model.input(0).partial_shape
            if shape.is_dynamic and size is not None:
                model.reshape([1, 3, size[1], size[0]])
                shape = model.input(0).partial_shape
            hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[plan.precision]}
            if plan.threads:
                hints["INFERENCE_NUM_THREADS"] = str(plan.threads * plan.streams)
                hints["NUM_STREAMS"] = str(plan.streams)
            compiled = _core().compile_model(model, DEVICE, hints)
            sides = [side.get_length() if side.is_static else str(side) for side in shape]
        except Exception as fault:  # noqa: BLE001 - OpenVINO raises RuntimeError and others, with pages of text
            raise ProviderError(f"OpenVINO cannot load it ({type(fault).__name__})") from None
        free: LifoQueue[Any] = LifoQueue()
        for _ in range(plan.streams):
            free.put(compiled.create_infer_request())
        return _Network(compiled, sides, free)
