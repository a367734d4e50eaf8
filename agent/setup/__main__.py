"""`python -m agent.setup BOX.TOML`: serves the page beside the agent that started it, and ends with it."""

import logging
import os
import signal
import sys
from pathlib import Path

from agent.camera.nursery import nursery
from agent.setup.serving import serve

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        serve(Path(sys.argv[1]), parent=os.getppid())
    finally:
        nursery().close()
