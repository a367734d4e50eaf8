"""Measure accuracy: `python -m tests.eval`, writes accuracy.json."""

import argparse
import json
import os
from pathlib import Path

from tests.eval import staged
from tests.eval.staging import seeds

RESULT = Path(__file__).with_name("accuracy.json")


def main() -> None:
    """Run what is asked for, print it and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=320)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--drawn", action="store_true", help="only scenes rendered from nothing")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--failures", action="store_true", help="list scenes that went wrong")
    parser.add_argument("--save", action="store_true", help="write accuracy.json")
    asked = parser.parse_args()
    shared = Path(os.environ.get("CITYEYE_SHARED", "../shared/data"))
    played = staged.play_all(
        seeds(asked.scenes, asked.first), None if asked.drawn or not shared.is_dir() else shared, asked.workers
    )
    if asked.failures:
        for seed, hardness, what, verdict in played:
            if verdict.missed or verdict.false or verdict.cleared_wrong:
                print(seed, hardness, what, verdict)
    figures = {"staged": staged.figures(played)}
    print(json.dumps(figures, indent=1))
    if asked.save:
        RESULT.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
