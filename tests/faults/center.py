"""A real collector as a process, its data on a small disk that can be filled."""

import contextlib
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collector.evidence.files import PictureFiles
from collector.store import Store, open_store
from tests.services import BIN, Process, free_port, wait_for


class Center:
    """`cityeye-collector serve`, killed and started again at will.

    Args:
        database_url: None: SQLite in the data folder.
        extra: lines for `[broker]`, such as certificates.
    """

    def __init__(
        self, folder: Path, url: str, *, database_url: str | None = None, name: str = "center", extra: str = ""
    ) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["version = 1", "[center]", f'id = "{name}"', f'data_dir = "{folder}/data"']
        lines += [f'listen = "127.0.0.1:{self.port}"']
        if database_url is not None:
            lines += [f'database_url = "{database_url}"']
        lines += ["[broker]", f'url = "{url}"', extra]
        settings = folder / f"{name}.toml"
        settings.write_text("\n".join(lines) + "\n")
        self.database_url = database_url or f"sqlite:///{folder / 'data' / 'center.db'}"
        # without waiting for its port: a kill may come while it starts
        self.process = Process([BIN / "cityeye-collector", "serve", "--settings", settings], folder / f"{name}.log")

    def kill(self) -> None:
        self.process.kill()

    def start(self) -> None:
        self.process.start()

    def stop(self) -> int:
        return self.process.stop(30)

    def health(self) -> dict[str, Any]:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz") as answer:
            return dict(json.load(answer))
        return {}

    def ready(self) -> None:
        wait_for(lambda: self.health().get("ok"), f"the center works: {self.process.text()[-500:]}", 60)

    @contextlib.contextmanager
    def books(self) -> Iterator[tuple[Store, PictureFiles]]:
        """Database and pictures, for looking after it has ended."""
        store = open_store(self.database_url)
        try:
            yield store, PictureFiles(self.folder / "data" / "evidence")
        finally:
            store.close()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A file system of that size on a folder; False where this machine lets nobody mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(folder: Path, seconds: float) -> None:
    """Leave no byte free on a folder's disk for a while."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1024 * 1024)):
            pass
    time.sleep(seconds)
    ballast.unlink()


def end(process: Process) -> None:
    """End a process that may hang."""
    if process.process.poll() is None:
        process.send(signal.SIGKILL)
        process.process.wait()
