"""Packing a network whose kernels are whole steps (`models.catalogue.packed`): nothing is lost."""

import json
import lzma
import zlib
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from models.catalogue.packed import FLOOR, LANES, LEVELS, Ints, Shape, distributions, guessed, told_of, unpacked

LZMA: Final = ({"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0},)
ROUNDS: Final = 12
"""In each, every level moves by one at most."""


def pack(content: bytes) -> bytes:
    """Pack an ONNX file, for `unpacked`."""
    begins = distributions()
    kernels: list[tuple[int, ...]] = []
    told: list[bytes] = []
    pieces: list[bytes] = []
    coded: list[Ints] = []
    end = 0
    for tensor in onnx.load_from_string(content).graph.initializer:
        if tensor.data_type != TensorProto.INT8 or len(tensor.dims) != 4:
            continue
        kernel = numpy_helper.to_array(tensor)
        shape = (kernel.shape[0], kernel.shape[1], kernel[0, 0].size)
        steps = kernel.reshape(-1, shape[2]).astype(np.int64)
        fitted = _fitted(shape, steps, begins)
        begin = content.index(tensor.raw_data, end)
        kernels.append((begin - end, *shape))
        told.append(fitted.astype(np.int8).tobytes())
        pieces.append(content[end:begin])
        end = begin + kernel.size
        for place in range(shape[2]):
            guess, which = guessed(shape, fitted, steps, place)
            found = which << 8 | (steps[:, place] - guess + 128) & 0xFF
            coded += np.split(found, range(LANES, len(found), LANES))
    listed = json.dumps([zlib.crc32(content), kernels], separators=(",", ":")).encode() + b"\n"
    head = lzma.compress(b"".join([listed, *told, *pieces, content[end:]]), filters=LZMA)
    packed = len(head).to_bytes(4, "little") + head + _code(coded, begins)
    if unpacked(packed) != content:
        raise RuntimeError("the packed network is not the same when unpacked")
    return packed


def _fitted(shape: Shape, steps: Ints, begins: Ints) -> Ints:
    """Find what to tell of a kernel so that its steps take few bits, `(told_of(*shape),)`."""
    told = np.zeros(told_of(*shape), np.int64)
    rows, columns, levels, weights = np.split(told, np.cumsum(shape))
    for place in range(1, shape[2]):
        fit = np.linalg.lstsq(steps[:, :place], steps[:, place], rcond=None)[0]
        weights[place * (place - 1) // 2 :][:place] = np.clip(np.round(fit * 8), -128, 127)
    guess, which = np.stack([guessed(shape, told, steps, place) for place in range(shape[2])], 2)
    bits = 16 - np.log2(np.diff(begins)).reshape(LEVELS, 8, 256)
    costs = bits[:, which & 7, (steps - guess + 128) & 0xFF].reshape(LEVELS, *shape)
    levels += LEVELS // 2
    for _ in range(ROUNDS):
        for one, others in ((levels, (0, 1)), (rows, (1, 2)), (columns, (0, 2))):
            now = rows[:, None, None] + columns[:, None] + levels
            moved = [
                np.take_along_axis(costs, np.clip(now + by, 0, LEVELS - 1)[None], 0)[0].sum(others) for by in (-1, 0, 1)
            ]
            one[:] += np.argmin(moved, 0) - 1
    return told


def _code(coded: list[Ints], begins: Ints) -> bytes:
    """Write which distances from which distributions come one after the other: the last ones first."""
    states = np.full(LANES, FLOOR)
    words: list[Ints] = []
    for found in reversed(coded):
        state, size = states[: len(found)], begins[found + 1] - begins[found]
        full = np.flatnonzero(state >= size << 32)
        words.append(state[full] & 0xFFFF)
        state[full] >>= 16
        state[:] = (state // size << 16) + state % size + (begins[found] & 0xFFFF)
    words += [states & 0xFFFF, states >> 16 & 0xFFFF, states >> 32]
    return np.concatenate(words[::-1]).astype("<u2").tobytes()
