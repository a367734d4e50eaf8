"""The reading process of one camera: `python -m agent.camera.child FD`, the source as JSON on standard input.

It ends with its parent, and leaves Ctrl-C to it.
"""

import ctypes
import os
import signal
import sys
import time

from agent.camera import wire
from agent.camera.decoding import Opened, Picture, look
from agent.camera.errors import CameraError
from agent.camera.source import Source

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        sys.exit(1)


def main() -> None:
    """Read until the source ends or the parent goes away."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    end_with(parent)
    source = Source.from_json(sys.stdin.readline())
    with os.fdopen(descriptor, "wb") as pipe:
        try:
            for event in look(source, sleep=time.sleep, monotonic=time.monotonic):
                if isinstance(event, Opened):
                    wire.write(
                        pipe, wire.OPENED, codec=event.codec, width=event.width, height=event.height, fps=event.fps
                    )
                elif isinstance(event, Picture):
                    height, width = event.planes.shape[0] * 2 // 3, event.planes.shape[1]
                    wire.write(
                        pipe, wire.FRAME, event.planes.tobytes(), t=event.t, key=event.key, width=width, height=height
                    )
                else:
                    wire.write(pipe, wire.ALIVE)
            wire.write(pipe, wire.ENDED)
        except CameraError as fault:
            wire.write(pipe, wire.FAILED, text=str(fault))
        except BrokenPipeError:
            os._exit(0)
        except Exception as fault:  # noqa: BLE001 - whatever a library throws, its text may hold the password
            wire.write(pipe, wire.FAILED, text=f"the reader failed: {type(fault).__name__}")


if __name__ == "__main__":
    main()
