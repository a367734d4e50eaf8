"""Real services on loopback, started and stopped by the tests."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port that nobody listens on; below those that Linux gives to outgoing lines, which could take it meanwhile."""
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", 10000 + secrets.randbelow(22000))) as one:
            return int(one.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """Wait for something real to happen in another process; returns what the condition gave."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}")


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


class Process:
    """A child process that may be killed and started again; ended by its own id."""

    def __init__(
        self, command: list[Any], log: Path, port: int | None = None, host: str = "127.0.0.1", **environment: str
    ) -> None:
        self.port, self.host = port, host
        self.command = [str(part) for part in command]
        self.log = log
        self.environment = {**os.environ, **environment}
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        port = self.port
        if port is not None:
            try:
                wait_for(lambda: answers(port, self.host), f"{self.command[0]} listens", 60)
            except AssertionError:
                self.kill()
                raise AssertionError(f"{self.command[0]} does not listen on {port}: {self.text()[-400:]}") from None

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 10.0) -> int:
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.send(signal.SIGCONT)
            self.kill()


class Broker:
    """A broker of one kind, on one port for its whole life."""

    def __init__(self, kind: str, folder: Path, acl: str = "", more: str = "") -> None:
        self.kind = kind
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "iotcore":
            command = [sys.executable, ROOT / "deploy" / "demo" / "broker.py", self.port, folder]
        else:
            program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
            if program is None:
                pytest.skip("needs mosquitto (deploy/setup.sh tools)")
            settings = folder / "mosquitto.conf"
            text = f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nuser root\n"
            text += more
            if acl:
                (folder / "acl").write_text(acl)
                text += f"acl_file {folder / 'acl'}\n"
            settings.write_text(text)
            command = [program, "-c", settings]
        self.process = Process(command, folder / "broker.log", self.port)

    def kill(self) -> None:
        self.process.kill()

    def start(self) -> None:
        self.process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.__exit__()


class Proxy:
    """A TCP line to a port that can be cut, delayed, or swallow what goes over it; a thread for each direction."""

    def __init__(self, to: int) -> None:
        self.delay_s = 0.0
        self.swallowing = False
        self.accepted = 0
        self._to = to
        self._lines: list[tuple[socket.socket, socket.socket]] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self.accepted += 1
                try:
                    far = socket.create_connection(("127.0.0.1", self._to), 5)
                except OSError:
                    near.close()
                    continue
                self._lines.append((near, far))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            source.settimeout(None)
            while content := source.recv(65536):
                if self.delay_s:
                    time.sleep(self.delay_s)
                if not self.swallowing:
                    sink.sendall(content)
        if not self.swallowing:
            self._end(source, sink)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End all lines that there are; new ones are taken."""
        for line in self._lines:
            self._end(*line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.swallowing = False
        self._end(self._server)
        self._accepting.join(10)  # a line that it is just making is one to close, too
        self._server.close()
        for line in self._lines:
            self._end(*line)
            for end in line:
                end.close()


class Postgres:
    """A PostgreSQL of its own on a free port of loopback; as root it runs as the user `postgres`."""

    def __init__(self, *, durable: bool = False) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            pytest.skip("needs PostgreSQL (deploy/setup.sh tools)")
        programs = found[-1].parent
        # pytest's own folders are closed to other users
        self.folder = Path(tempfile.mkdtemp(prefix="cityeye-postgres-"))
        as_user: list[Any] = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data = self.folder / "data"
        made = run(
            *as_user, programs / "initdb", "-D", data, "-U", "center", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
        )
        assert made.returncode == 0, made.stderr
        self.port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        if not durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        log = Path(tempfile.mkstemp(prefix="cityeye-postgres-", suffix=".log")[1])
        self.process = Process([*as_user, programs / "postgres", "-D", data, *settings], log, self.port)
        self.made = 0

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://center@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template0") -> str:
        """Make a new database, as a copy of another; returns its URL."""
        self.made += 1
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=center dbname=postgres", autocommit=True) as line:
            line.execute(f"CREATE DATABASE center{self.made} TEMPLATE {template}")
        return self.url(f"center{self.made}")

    def __enter__(self) -> Self:
        wait_for(self._ready, "PostgreSQL lets somebody in", 60)
        return self

    def _ready(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(f"host=127.0.0.1 port={self.port} user=center dbname=postgres").close()
            return True
        return False

    def __exit__(self, *_: object) -> None:
        self.process.send(signal.SIGINT)  # its fast shutdown
        self.process.process.wait(20)
        self.process.log.unlink()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def stopped(process: Process) -> Iterator[None]:
    """Hold a process, as a stall would."""
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


def run(
    *command: Any, timeout_s: float = 120, typed: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `typed` is its standard input."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        input=typed,
        timeout=timeout_s,
        env={**os.environ, **environment},
        check=False,
    )
