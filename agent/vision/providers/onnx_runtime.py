"""ONNX Runtime: on the processor, which every box has, and on NVIDIA's devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from agent.vision.providers.network import Network, Plan, Precision, ProviderError, Size
from agent.vision.runtime import open_network, options


@dataclass(frozen=True)
class _Network:
    _session: Any

    @property
    def shape(self) -> Sequence[object]:
        return list(self._session.get_inputs()[0].shape)

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._session.run(None, {self._session.get_inputs()[0].name: blob})[0], np.float32)


@dataclass(frozen=True)
class OnnxRuntime:
    """One of its execution providers.

    Args:
        name: ours.
        execution: theirs.
        halved: the option by which it reckons in 16 bits; None: it cannot.
    """

    name: str
    execution: str
    halved: tuple[str, str] | None = None

    @property
    def precisions(self) -> Sequence[Precision]:
        """Those that it knows."""
        return ("float32",) if self.halved is None else ("float32", "float16")

    @property
    def version(self) -> str:
        """Of the runtime."""
        return f"onnxruntime {onnxruntime.__version__}"

    def missing(self) -> str | None:
        """Look what the installed wheel was built with."""
        if self.execution in onnxruntime.get_available_providers():
            return None
        return "this ONNX Runtime was built without it; install onnxruntime-gpu instead of onnxruntime"

    def open(self, path: Path, content: bytes, plan: Plan, size: Size | None) -> Network:
        """Load a file."""
        del path, size
        more = dict([self.halved]) if self.halved and plan.precision == "float16" else {}
        chosen = (
            [(self.execution, more)]
            if self.execution == "CPUExecutionProvider"
            else [(self.execution, more), ("CPUExecutionProvider", {})]
        )
        try:
            session = open_network(content, options(plan.threads), chosen)
        except Exception as fault:  # noqa: BLE001 - ONNX Runtime's own classes share nothing but Exception
            raise ProviderError(f"ONNX Runtime cannot load it ({type(fault).__name__})") from None
        # it goes on with the processor where a device's library is broken, and says so in its log only
        if session.get_providers()[0] != self.execution:
            raise ProviderError(f"ONNX Runtime does not get {self.name} to work here; see its libraries and driver")
        inputs = session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            got = ", ".join(f"{one.type} {one.shape}" for one in inputs)
            raise ProviderError(f"expected one input 1×3×H×W of floats, got {got}; export it as a YOLO detector")
        return _Network(session)
