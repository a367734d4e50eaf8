"""Play a street's day and say what came of it.

    python -m tests.sim [--incidents 2000] [--seed 1] [--postgresql]

Prints figures as JSON, and ends with 1 where a ticket was forgotten, somebody told twice, or something done too early.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.services import Postgres
from tests.sim.checks import faults, figures
from tests.sim.day import Day


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--incidents", type=int, default=2000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--postgresql", action="store_true")
    given = arguments.parse_args()
    # that services fail and the clock jumps is part of the day
    logging.disable(logging.WARNING)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(Postgres()).create() if given.postgresql else None
        began_s = time.monotonic()
        day = stack.enter_context(Day(folder, given.incidents, given.seed, url))
        day.run()
        wrong = faults(day)
        found = {
            **figures(day),
            "took_s": round(time.monotonic() - began_s, 1),
            "cpu_s": round(time.process_time()),
            "faults": len(wrong),
        }
    print(json.dumps(found, indent=1, ensure_ascii=False))
    for line in wrong[:50]:
        print(f"FAULT {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
