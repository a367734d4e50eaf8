"""On the box: frames in, incidents out.

A frame goes one way: `camera` (reads it) → `vision` (what is in it) → `rules` (what that means) → `evidence` (proof) →
`uplink` (to the center). `runner` walks one camera's frames along that way; `start` opens the `line` and runs it,
`commands` are the others; `settings` reads `box.toml`; `box` is the machine itself: its identity, its clock.
"""

import os
from importlib.metadata import PackageNotFoundError, version

# onnxruntime 1.32 keeps a device id in ~/.cache/Microsoft and sends events to its maker, unless it is told before
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

try:
    VERSION = version("cityeye")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0+checkout"
