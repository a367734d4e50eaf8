"""What differs between two pictures of one place: things, not light.

A small network of the project's own (`models/catalogue/own/change.onnx`, see its card) compares them. It was trained on
pairs made up from photos, under lights and shadows that had nothing to do with the things (`models.train`).
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.runtime import open_on_processor
from models.catalogue import own_model

Luma = NDArray[np.uint8]

MULTIPLE: Final = 16
"""Sides of the network's input."""


@dataclass(frozen=True, eq=False)
class Change:
    """Chances, each of shape `(h, w)`, 0 to 1."""

    thing: NDArray[np.float32]
    """Something stands there now that did not, or something else."""
    gone: NDArray[np.float32]
    """Something stood there in the reference and is away."""

    @property
    def any(self) -> NDArray[np.float32]:
        """Either of both."""
        return self.thing + self.gone


@dataclass(frozen=True)
class Comparer:
    """The loaded network; may be used by several threads."""

    _session: Any = field(repr=False)

    def compare(self, now: Luma, reference: Luma) -> Change:
        """Compare two pictures of one shape `(h, w)`."""
        height, width = now.shape
        pad = (0, -height % MULTIPLE, 0, -width % MULTIPLE)
        lumas = [cv2.copyMakeBorder(one, *pad, cv2.BORDER_REPLICATE) for one in (now, reference)]
        blob = np.stack(lumas)[None].astype(np.float32)
        chances = self._session.run(None, {"lumas": blob})[0][0]
        size = (blob.shape[3], blob.shape[2])
        thing, gone = (cv2.resize(chances[n], size, interpolation=cv2.INTER_LINEAR)[:height, :width] for n in (1, 2))
        return Change(np.asarray(thing, np.float32), np.asarray(gone, np.float32))


@cache
def comparer() -> Comparer:
    """Load the network, once."""
    # one thread: it takes 5 ms, and the cores belong to the detector and the decoders
    return Comparer(open_on_processor(own_model("change")))
