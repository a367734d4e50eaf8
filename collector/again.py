"""A request again, where its transaction lost a race against another one."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.store import is_race

log = logging.getLogger(__name__)

TRIES: Final = 4
PAUSE_S: Final = 0.05
"""Between two tries at most, each time so much more."""
RETRY_AFTER: Final = {"retry-after": "5"}


class Again:
    """Takes a request once more whose transaction another one got in the way of (deadlock, serialisation failure).

    That transaction was rolled back as a whole; and only as long as nothing was answered. What a request did outside it
    stays: a sign-in's tries and a page's visits, counted by themselves, count once more with each try, and a flow of
    single sign-on, good once, has to begin anew. Where a few tries do not help, or the database does not answer, the
    request is not lost without a word: `busy` is the answer (503).
    """

    def __init__(self, app: ASGIApp, busy: Callable[[], Response]) -> None:
        self._app, self._busy = app, busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        heard: list[Message] = []
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        for left in reversed(range(TRIES)):
            try:
                # what a try has put into the request's state is no other try's
                fresh = {**scope, "state": dict(scope.get("state", {}))}
                await self._app(fresh, _again(heard, receive), answer)
            except SQLAlchemyError as fault:
                if begun or not (is_race(fault) or isinstance(fault, OperationalError)):
                    raise
                if left and is_race(fault):
                    await asyncio.sleep(random.uniform(0, PAUSE_S * (TRIES - left)))  # noqa: S311 - keeps two apart, no secret
                    continue
                if isinstance(fault, IntegrityError):
                    raise  # it was none: a fault of ours
                log.warning("%s %s: the database is busy (%s)", scope["method"], scope["path"], type(fault).__name__)
                await self._busy()(scope, receive, send)
            return


def _again(heard: list[Message], receive: Receive) -> Receive:
    """What was heard of a request so far, then the rest of it."""
    before = iter(tuple(heard))

    async def listen() -> Message:
        for message in before:
            return message
        message = await receive()
        heard.append(message)
        return message

    return listen
