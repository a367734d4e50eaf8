"""The three planes of an I420 picture."""

import numpy as np
from numpy.typing import NDArray


def split(planes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Views of Y `(h, w)`, U and V `(h // 2, w // 2)` of an I420 picture."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    flat = planes.reshape(-1)
    quarter = height * width // 4
    u, v = flat[height * width :][:quarter], flat[height * width + quarter :]
    half = (height // 2, width // 2)
    return planes[:height], u.reshape(half), v.reshape(half)


def join(y: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put three planes into one I420 picture."""
    flat = np.concatenate([np.ascontiguousarray(plane).reshape(-1) for plane in (y, u, v)])
    return flat.reshape(y.shape[0] * 3 // 2, y.shape[1])
