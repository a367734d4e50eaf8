"""What all providers have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Precision = Literal["float32", "float16", "bfloat16"]
"""In which numbers a network is reckoned; weights in 8 bits are another file."""
Size = tuple[int, int]
"""Width and height of an input, px."""


class ProviderError(Exception):
    """Why a file cannot be run this way; a part of a line."""


@dataclass(frozen=True)
class Plan:
    """How a file is run.

    Args:
        provider: its name.
        precision: of the reckoning.
        threads: of one inference; 0 lets the provider decide.
        streams: inferences at a time; others wait.
    """

    provider: str = "cpu"
    precision: Precision = "float32"
    threads: int = 0
    streams: int = 1

    def fitted(self, cores: int, cameras: int) -> Self:
        """Fit it to what a box has to do: many cameras need many looks at a time, one camera a quick one.

        A look on two threads takes 55 % of the time and 110 % of the work of a look on one (measured, both providers).
        """
        streams = max(1, min(cores, cameras))
        return replace(self, threads=max(1, cores // streams), streams=streams)


class Network(Protocol):
    """A loaded network of one input; may be used by several threads."""

    @property
    def shape(self) -> Sequence[object]:
        """Of its input; sides that are not fixed are no integers."""
        ...

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give its first output."""
        ...


class Provider(Protocol):
    """One way to run networks."""

    @property
    def name(self) -> str:
        """What a plan calls it."""
        ...

    @property
    def precisions(self) -> Sequence[Precision]:
        """In which it can reckon on this machine; float32 first."""
        ...

    @property
    def version(self) -> str:
        """Of its library: what was fastest with one need not be so with another."""
        ...

    def missing(self) -> str | None:
        """Say what it lacks on this machine; None: it can run here."""
        ...

    def open(self, path: Path, content: bytes, plan: Plan, size: Size | None) -> Network:
        """Load a file; raises ProviderError.

        Args:
            path: of the ONNX file; some providers have a file of their own beside it.
            content: of that file.
            plan: precision and threads.
            size: what an input that is not fixed will be; None: not known yet.
        """
        ...
