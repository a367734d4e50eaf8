"""Some targets, one after the other: `python -m tests.fuzz.child fuzz|replay FOLDER SECONDS NAME…`.

Fuzzing forks for each target, as libFuzzer ends the process that it ran in; all is imported, and given its
instruments, before. What comes of a target goes to `FOLDER/NAME.fuzz` and `.replay`, its corpus is `FOLDER/NAME`.
"""

import importlib
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

CHECKS = 20


def fuzz(target: Any, corpus: Path, seconds: float) -> None:
    """Run under libFuzzer; ends the process, with another status than 0 where it found something."""
    import atheris  # noqa: PLC0415 - only where it is installed

    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={round(seconds)}", f"-max_len={target.max_bytes}", "-timeout=20", "-rss_limit_mb=2048"]
    noise = ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={corpus}-"]
    atheris.Setup([sys.argv[0], *limits, *noise, str(corpus)], target.take)
    atheris.Fuzz()


def replay(target: Any, corpus: Path, seconds: float) -> None:
    """Feed what was found again and again; writes by how many bytes the memory grew after the first half."""
    inputs = [path.read_bytes() for path in sorted(corpus.iterdir())]
    took = 0
    sizes: list[int] = []
    began_s = time.monotonic()
    for check in range(CHECKS):
        until_s = began_s + seconds * (check + 1) / CHECKS
        while time.monotonic() < until_s or took < len(inputs):
            target.take(inputs[took % len(inputs)])
            took += 1
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    grown = min(sizes[-3:]) - max(sizes[CHECKS // 2 - 3 : CHECKS // 2])
    Path(f"{corpus}.replay").write_text(f"replayed: {took} grown: {grown}")


def fork(target: Any, corpus: Path, seconds: float) -> None:
    """Fuzz in a process of its own, whose words go to a file."""
    corpus.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        said = os.open(f"{corpus}.fuzz", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        fuzz(target, corpus, seconds)
    os.waitpid(child, 0)


def main(what: str, folder: Path, seconds: float, names: list[str]) -> None:
    """Do it for each target."""
    logging.disable(logging.CRITICAL)
    if what == "fuzz":
        import atheris  # noqa: PLC0415 - only where it is installed

        with atheris.instrument_imports(include=["protocol", "collector", "agent"]):
            importlib.import_module("tests.fuzz.targets")
    targets = importlib.import_module("tests.fuzz.targets")
    for name in names:
        {"fuzz": fork, "replay": replay}[what]((targets.TARGETS | targets.BROKEN)[name], folder / name, seconds)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
