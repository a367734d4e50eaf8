"""ONNX Runtime as this process uses it: one store of memory for all networks, that grows no further than they need.

By default each network keeps a store of its own and doubles it whenever it is full: 58 MB more for the detector, the
still scene's network and the face model together, at the same speed. One that grew by each tensor alone took 10 to
15 MB more than one large piece, of which every network cuts what it needs: the holes that one leaves do not fit the
tensors of another.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import onnxruntime

PROCESSOR: Final = ("CPUExecutionProvider",)
STORE_BYTES: Final = 64 << 20
"""Addresses only, until somebody writes there; two looks at a time of a detector of 640 x 640 fit."""
STORE_STEP_BYTES: Final = 4 << 20


@cache
def _share_memory() -> None:
    """Let networks of this process take their memory from one place."""
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = {
        "arena_extend_strategy": 0,  # the other one takes no notice of the first size
        "initial_chunk_size_bytes": STORE_BYTES,
        "initial_growth_chunk_size_bytes": STORE_STEP_BYTES,
        "max_power_of_two_extend_bytes": STORE_STEP_BYTES,
    }
    onnxruntime.create_and_register_allocator(info, onnxruntime.OrtArenaCfg(arena))


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
    # weights stay for ever: they would lie in the way of what comes and goes
    chosen.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    # spinning threads would burn the cores that the cameras' decoders need
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # what it would lay out beforehand is kept as one piece that nobody else can use
    chosen.enable_mem_pattern = False
    return chosen


def open_network(source: bytes | Path, chosen: Any, providers: Sequence[Any] = PROCESSOR) -> Any:
    """Open a network; raises what ONNX Runtime raises, whose classes share nothing but Exception.

    Args:
        source: the file, or what it holds.
        chosen: onnxruntime.SessionOptions.
        providers: names, or names with their options, the first one first.
    """
    file = str(source) if isinstance(source, Path) else source
    session = onnxruntime.InferenceSession(file, chosen, providers=list(providers))
    # it would keep the file's content for ever, to begin anew with other providers, which nobody here wants: 10 MB
    session.disable_fallback()
    session._model_bytes = None  # noqa: SLF001 - it has no other way
    return session


def open_on_processor(source: bytes | Path, threads: int = 1) -> Any:
    """Open a network as most are; raises what `open_network` raises."""
    return open_network(source, options(threads))
