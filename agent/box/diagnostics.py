"""What is known of a box, for whoever helps from afar: a small bundle without secrets.

It goes in a reply, so it is bounded: the log's tail is cut until the whole fits.
"""

import base64
import gzip
import json
import logging
import os
import platform
import shutil
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from agent.box.power import SYS, read_power, temperatures
from agent.box.redaction import redact
from protocol.messages import MachineLoad

LINES: Final = 2000
MAX_LINE: Final = 500
MAX_BUNDLE_BYTES: Final = 40 * 1024
"""Of the gzipped JSON; 53 KB in base64, of a reply's 64."""
MEMORY: Final = Path("/proc/meminfo")


class LogTail(logging.Handler):
    """The last lines of the log, in memory."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(message)s"))
        self._lines: deque[str] = deque(maxlen=LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; what it holds of secrets is taken out when it is asked for."""
        try:
            self._lines.append(self.format(record))
        except Exception:  # noqa: BLE001 - a record that cannot be written is logging's to report
            self.handleError(record)

    def lines(self) -> list[str]:
        """The lines, oldest first."""
        return list(self._lines)


def machine(state_dir: Path) -> dict[str, Any]:
    """Load, memory, disk and temperature of this machine."""
    disk = shutil.disk_usage(state_dir)
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "memory_kb": memory_kib(),
        "disk_bytes": {"total": disk.total, "free": disk.free},
        "temperature_c": temperatures(SYS / "class/thermal"),
    }


def machine_load(state_dir: Path) -> MachineLoad:
    """The same in short, as each health report has it."""
    disk, memory, power = shutil.disk_usage(state_dir), memory_kib(), read_power()
    return MachineLoad(
        temperature_c=power.temperature_c,
        undervoltage=power.low if power.known else None,
        load=round(os.getloadavg()[0], 2),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=_bytes(memory.get("MemTotal")),
        memory_free_bytes=_bytes(memory.get("MemAvailable")),
        disk_bytes=disk.total,
        disk_free_bytes=disk.free,
    )


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024


def memory_kib(path: Path = MEMORY) -> dict[str, int]:
    """MemTotal, MemAvailable and SwapFree as the kernel tells them; what it does not tell is not there."""
    try:
        pairs = (line.split(":") for line in path.read_text("ascii").splitlines())
        wanted = ("MemTotal", "MemAvailable", "SwapFree")
        return {name: int(value.split()[0]) for name, value in pairs if name in wanted}
    except (OSError, ValueError, IndexError):
        return {}


def bundle(parts: Mapping[str, Any], log_lines: Iterable[str], secrets: Iterable[str]) -> str:
    """Put a bundle together: gzipped JSON in base64, of at most MAX_BUNDLE_BYTES before that.

    Args:
        parts: plain values; texts in them are redacted.
        log_lines: oldest first; those that have no room are left out, the oldest first.
        secrets: known ones, taken out wherever they stand.
    """
    known = tuple(secrets)
    # redacted whole: a secret may run over lines, and is not to be cut before it is found
    lines = redact("\n".join(log_lines), known).split("\n")
    lines = [line[:MAX_LINE] for line in lines]
    clean = _redacted(parts, known)
    while True:
        text = json.dumps({**clean, "log": lines}, ensure_ascii=False)
        packed = gzip.compress(text.encode("utf-8", "replace"), mtime=0)
        if len(packed) <= MAX_BUNDLE_BYTES:
            return base64.b64encode(packed).decode()
        if lines:
            lines = lines[len(lines) // 2 + 1 :]
        else:
            clean = {"left_out": "all parts together are too large", "parts": sorted(clean)}


def open_bundle(text: str) -> dict[str, Any]:
    """Read a bundle."""
    values: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return values


def _redacted(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, Mapping):
        return {str(key): _redacted(one, secrets) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(one, secrets) for one in value]
    return value
