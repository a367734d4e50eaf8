"""What people read on the box itself, in both languages."""

from typing import NamedTuple


class Words(NamedTuple):
    """The same in both languages."""

    zh: str
    en: str
