"""A TCP proxy that can be told to misbehave: what stands between two parts of the system cuts and stalls.

It also keeps an address: a server that was started again listens elsewhere, and its clients need not know.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import contextmanager, suppress

#: Real seconds after which a connection that nothing came through is cut too.
CUT_WITHIN = 1.0
_BLOCK = 64 * 1024
#: Closing sends a reset: the other side sees an error, not an end.
_RESET = struct.pack("ii", 1, 0)


@contextmanager
def proxies(*names):
    """Proxies that run in a thread of their own, by name. Each must be given its `target`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies", daemon=True)
    thread.start()
    made = {name: Proxy(loop) for name in names}
    try:
        yield made
    finally:
        for proxy in made.values():
            proxy.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Proxy:
    """Passes on what comes to `port` to `target`, a (host, port). Every method may be called from any thread."""

    def __init__(self, loop):
        self.target = None
        #: Real seconds by which everything that the server says is late: the length of the way.
        self.delay = 0.0
        self._loop = loop
        self._pairs = set()
        self._serving = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self):
        """Cuts every connection in the middle of the next thing that its server says; returns how many there were."""
        return self._run(self._cut())

    def stall(self):
        """From now on nothing comes through; connections are taken, and stay mute."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self):
        """What was held up goes on its way."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self):
        """No connection is left, and none is taken."""
        self._run(self._close())

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            await self._flowing.wait()
            to_reader, to_writer = await asyncio.open_connection(*self.target)
        except (OSError, asyncio.CancelledError):
            # A server that is down: its clients see a connection that is closed at once.
            writer.close()
            return
        pair = _Pair(writer, to_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump(reader, to_writer, pair, to_client=False),
                self._pump(to_reader, writer, pair, to_client=True),
            )
        except asyncio.CancelledError:
            pair.reset()
        finally:
            self._pairs.discard(pair)

    async def _pump(self, reader, writer, pair, *, to_client):
        with suppress(OSError):
            while block := await reader.read(_BLOCK):
                if to_client and self.delay:
                    await asyncio.sleep(self.delay)
                await self._flowing.wait()
                if pair.cutting and to_client:
                    writer.write(block[: len(block) // 2])
                    await writer.drain()
                    pair.reset()
                    return
                writer.write(block)
                await writer.drain()
        # One side has ended: a half-closed connection is of no use to any of these protocols.
        pair.close()

    async def _cut(self):
        cut = list(self._pairs)
        for pair in cut:
            pair.cutting = True
        if cut:
            self._loop.call_later(CUT_WITHIN, lambda: [pair.reset() for pair in cut])
        return len(cut)

    async def _close(self):
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


class _Pair:
    """The two to_clients of a connection."""

    def __init__(self, *writers):
        self.cutting = False
        self._writers = writers

    def close(self):
        for writer in self._writers:
            writer.close()

    def reset(self):
        for writer in self._writers:
            if not writer.is_closing():
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
