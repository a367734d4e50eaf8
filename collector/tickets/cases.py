"""Case numbers: 19 digits, 6 of the region, 8 of the date, 5 counting the day's cases."""

import datetime as dt
from typing import Final

from sqlalchemy.orm import Session

from collector.store import CaseSerial, lock

MOST: Final = 99_999


class CaseError(Exception):
    """No number is left; one line."""


def next_number(session: Session, region: str, day: dt.date) -> str:
    """The next number of a day at a street; one that is rolled back is given again."""
    lock(session, [f"case/{region}"])
    row = session.get(CaseSerial, (region, f"{day:%Y%m%d}"), populate_existing=True)
    if row is None:
        row = CaseSerial(region=region, day=f"{day:%Y%m%d}", last=0)
        session.add(row)
    if row.last >= MOST:
        raise CaseError(f"expected at most {MOST} cases of region {region} on {day}, this is one more")
    row.last += 1
    session.flush()
    return f"{region}{row.day}{row.last:05d}"
