"""Case numbers: 19 digits, as the table `config/codes/cases.toml` composes them."""

import datetime as dt
from functools import cache

from sqlalchemy.orm import Session

from collector.places.codes import Numbering, load_numbering
from collector.store import CaseSerial, lock


@cache
def _numbering() -> Numbering:
    return load_numbering()


class CaseError(Exception):
    """No number is left; one line."""


def next_number(session: Session, region: str, day: dt.date) -> str:
    """The next number of a day at a street; one that is rolled back is given again."""
    lock(session, [f"case/{region}"])
    row = session.get(CaseSerial, (region, f"{day:%Y%m%d}"), populate_existing=True)
    if row is None:
        row = CaseSerial(region=region, day=f"{day:%Y%m%d}", last=0)
        session.add(row)
    numbering = _numbering()
    if row.last >= numbering.most:
        raise CaseError(f"expected at most {numbering.most} cases of region {region} on {day}, this is one more")
    row.last += 1
    session.flush()
    try:
        return numbering.number(region, day, row.last)
    except ValueError as fault:
        raise CaseError(f"case number: {fault}") from None
