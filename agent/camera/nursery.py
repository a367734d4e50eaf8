"""Where reading processes come from: one process that has everything loaded and forks them.

`python -m agent.camera.nursery SOCKET`. A camera's process is there in milliseconds instead of half a second, and forty
of them share the memory of the libraries that they use. The nursery ends with its parent (its socket closes), and its
children with it.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from typing import Final

from agent.camera import wire

_PR_SET_PDEATHSIG: Final = 1
_MAX_REQUEST_BYTES: Final = 160_000
_ANSWER_S: Final = 15.0
"""It loads its libraries first; one that does not answer is replaced."""
_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Pools of threads take memory in each process, and none is needed to copy pictures."""


class Nursery:
    """The parent's side: starts reading processes, and the nursery itself when there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self, source: str, descriptors: tuple[int, int, int]) -> tuple[int, int]:
        """Start a reading process; returns its process id and a pidfd, which the caller closes.

        Args:
            source: as JSON.
            descriptors: where it writes events, where it reads orders, the memory of its ring.
        """
        with self._lock:
            try:
                return self._ask(source, descriptors)
            except OSError:  # it was killed
                self._end()
                return self._ask(source, descriptors)

    def warm(self) -> None:
        """Start the nursery, so that it loads while something else is done."""
        with self._lock:
            self._ready()

    def close(self) -> None:
        """End it, and all its children."""
        with self._lock:
            self._end()

    def _ask(self, source: str, descriptors: tuple[int, int, int]) -> tuple[int, int]:
        line = self._ready()
        socket.send_fds(line, [source.encode()], list(descriptors))
        answer, passed, _, _ = socket.recv_fds(line, 64, 1)
        if not passed:
            raise ConnectionError("the nursery is gone")
        return int(answer), passed[0]

    def _ready(self) -> socket.socket:
        if self._process is None or self._socket is None or self._process.poll() is not None:
            self._end()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "agent.camera.nursery", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # the libraries' own words may carry an address with its password
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **_ONE_THREAD},
                )
            ours.settimeout(_ANSWER_S)
            self._socket = ours
        return self._socket

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._socket = None


@cache
def nursery() -> Nursery:
    """The one of this process."""
    return Nursery()


def main() -> None:
    """Fork a process for each request until the parent goes away."""
    # Ctrl-C at a terminal reaches all of them; it is the parent who ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from agent.camera import child  # noqa: PLC0415 - this is what is to be loaded once

    child.load()
    gc.collect()
    gc.freeze()
    line = socket.socket(fileno=int(sys.argv[1]))
    children: dict[int, tuple[int, int]] = {}
    parent = os.getpid()
    poll = select.poll()
    poll.register(line, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in children:
                poll.unregister(descriptor)
                _bury(descriptor, *children.pop(descriptor))
                continue
            request, passed, _, _ = socket.recv_fds(line, _MAX_REQUEST_BYTES, 3)
            if not request:
                return
            events, orders, memory = passed
            pid = os.fork()
            if pid == 0:
                _leave(parent, line, [*children, *(kept for _, kept in children.values())])
                child.run(request.decode(), events, orders, memory)
                os._exit(0)
            for one in (orders, memory):
                os.close(one)
            pidfd = os.pidfd_open(pid)
            children[pidfd] = pid, events
            poll.register(pidfd, select.POLLIN)
            socket.send_fds(line, [str(pid).encode()], [pidfd])


def _leave(nursery_pid: int, line: socket.socket, others: list[int]) -> None:
    """In the forked process: die with the nursery, and let go of what belongs to others."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != nursery_pid:  # it died before the call
        os._exit(1)
    line.close()
    for descriptor in others:
        os.close(descriptor)


def _bury(pidfd: int, pid: int, events: int) -> None:
    """Tell the parent how a child ended, through that child's own pipe."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        wire.write(events, wire.DIED, status=status)
    os.close(events)
    os.close(pidfd)


if __name__ == "__main__":
    main()
