"""What a change here means for tickets: they are looked at again, and what follows is theirs to decide."""

from collections.abc import Iterable

from sqlalchemy.orm import Session


def look_again(session: Session, numbers: Iterable[int]) -> None:
    """Have these tickets looked at, in the caller's transaction.

    The desk of `tickets` does that (`desk.look`); until it is there, nothing reads the permits.
    """
    del session, numbers
