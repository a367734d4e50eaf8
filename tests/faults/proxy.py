"""A network that can be cut: passes TCP on to a port, in a thread of its own."""

import asyncio
import contextlib
import threading
from typing import Self

from tests.services import free_port

CHUNK = 64 * 1024


class Network:
    """Listens on a loopback port and passes on to another.

    `cut` breaks all connections, or lets them hang in silence first, as a pulled cable does; nobody gets through until
    the time is over.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._whole = asyncio.Event()
        self._whole.set()
        self._up = True
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)

    def cut(self, seconds: float, *, silently: bool) -> None:
        """Cut it for so long; returns at once."""
        asyncio.run_coroutine_threadsafe(self._cut(seconds, silently=silently), self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1000, limit=CHUNK)
        )
        started.set()
        self._loop.run_forever()
        server.close()
        self._break()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _cut(self, seconds: float, *, silently: bool) -> None:
        self._up = False
        self._whole.clear()
        if not silently:
            self._break()
        await asyncio.sleep(seconds)
        self._break()
        self._whole.set()
        self._up = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to_port, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._writers -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(CHUNK):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()
