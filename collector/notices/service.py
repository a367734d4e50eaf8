"""Putting sender and pages together from the center's settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from collector.evidence.files import PictureFiles
from collector.notices.http import Line
from collector.notices.messages import Tools
from collector.notices.pages import Listener, ShopPages
from collector.notices.secrets import Secrets
from collector.notices.sender import Sender
from collector.notices.settings import NoticesSection, ShopPagesSection
from collector.store import Store


def tools_of(notices: NoticesSection, folder: Path, now: Callable[[], float] = time.time) -> Tools:
    """What channels work with; paths of the settings are relative to `folder`."""
    line = Line(proxy=notices.proxy, ca=None if notices.ca is None else folder / notices.ca)
    return Tools(Secrets(folder), line, now, folder)


@dataclass(frozen=True)
class Notices:
    """The running parts; `listener` is None where shops have no pages."""

    sender: Sender
    listener: Listener | None

    @property
    def alive(self) -> bool:
        """Whether all of it works."""
        return self.sender.alive and (self.listener is None or self.listener.alive)

    def __enter__(self) -> Self:
        """Begin."""
        self.sender.start()
        if self.listener is not None:
            self.listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        if self.listener is not None:
            self.listener.stop()
        self.sender.stop()


def open_notices(
    notices: NoticesSection,
    pages: ShopPagesSection,
    folder: Path,
    store: Store,
    files: PictureFiles,
    center: str,
    zone: ZoneInfo,
    changed: Callable[[], None],
    settled: Callable[[], bool] = lambda: True,
) -> Notices:
    """Make them; nothing runs yet."""
    sender = Sender(store, notices, pages, tools_of(notices, folder), center, zone, changed, settled=settled)
    if pages.listen is None:
        return Notices(sender, None)
    shown = ShopPages(store, files, pages, center, notices.contact, zone, changed)
    return Notices(sender, Listener(shown, folder))
