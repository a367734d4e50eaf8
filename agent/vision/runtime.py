"""ONNX Runtime as this process uses it: one store of memory for all networks, that grows no further than they need.

By default each network keeps a store of its own and doubles it whenever it is full: 58 MB more for the detector, the
still scene's network and the face model together, at the same speed.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

import onnxruntime

PROCESSOR: Final = ("CPUExecutionProvider",)


@cache
def _share_memory() -> None:
    """Let networks of this process take their memory from one place."""
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    as_requested = 1
    onnxruntime.create_and_register_allocator(info, onnxruntime.OrtArenaCfg({"arena_extend_strategy": as_requested}))


def options(threads: int) -> Any:
    """What a network on the processor is opened with.

    Args:
        threads: of one inference; 0 lets the runtime decide.
    """
    _share_memory()
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.log_severity_level = 4
    chosen.add_session_config_entry("session.use_env_allocators", "1")
    # spinning threads would burn the cores that the cameras' decoders need
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # what it would lay out beforehand is kept as one piece that nobody else can use
    chosen.enable_mem_pattern = False
    return chosen


def open_on_processor(content: bytes | Path, threads: int = 1) -> Any:
    """Open a network; raises what ONNX Runtime raises, whose classes share nothing but Exception."""
    source = str(content) if isinstance(content, Path) else content
    return onnxruntime.InferenceSession(source, options(threads), providers=list(PROCESSOR))
