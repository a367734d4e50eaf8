"""`[reports]` of `center.toml`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from protocol.documents import Section


class ReportsSection(Section):
    """Reports that are kept by themselves, and how long counts of people are."""

    folder: Path | None = Field(
        default=None, description="each day's and month's report is put here, a folder for each street; unset: nowhere"
    )
    after_minutes: int = Field(default=30, ge=0, le=1439, description="minutes after midnight that they are made")
    language: Literal["zh", "en"] = "zh"
    footfall_days: int = Field(default=400, ge=1, le=3660, description="that counts of people are kept")
