"""`python -m tests.fuzz [--seconds 600] [NAME…]`: fuzz all decoders, two at a time."""

import argparse
import json
import sys
from pathlib import Path

from tests.fuzz.running import figures, run
from tests.fuzz.targets import TARGETS

FOLDER = Path(".cache/fuzz")


def main() -> int:
    """Run; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=600, help="for each decoder")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}")
    asked = parser.parse_args()
    found = run(asked.names or list(TARGETS), FOLDER, asked.seconds)
    for one in found:
        growth = f"memory grew by {one.grown / 1024:.0f} KiB"
        print(f"{one.name:18} {one.inputs:>10} inputs  {growth}  {one.fault or 'no crash'}")
    print(json.dumps(figures(found)))
    return int(any(one.fault for one in found))


if __name__ == "__main__":
    sys.exit(main())
