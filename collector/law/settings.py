"""Settings of the papers that the law asks for: `[law]`."""

from typing import Final

from pydantic import Field

from protocol.documents import Section

PURPOSE: Final = "维护公共安全和市容秩序：发现占用人行道的物品和超出场所承受能力的人群聚集"
PURPOSE_EN: Final = (
    "Public safety and order: finding goods that block the pavement, and crowds beyond what a place bears"
)


class LawSection(Section):
    """Who runs the cameras, what for, and whom one may ask; it stands on the sign, in the filing and the assessment."""

    operator: str = Field(default="", max_length=100, description="the unit that runs the cameras, by its full name")
    operator_en: str = Field(default="", max_length=100, description="the same in English; empty: as it is")
    address: str = Field(default="", max_length=200, description="of the unit")
    responsible: str = Field(default="", max_length=60, description="the person who answers for it")
    contact: str = Field(
        default="", max_length=60, description="whom passers-by may ask and object to; empty: [notices] contact"
    )
    purpose: str = Field(default=PURPOSE, min_length=1, max_length=200)
    purpose_en: str = Field(default=PURPOSE_EN, min_length=1, max_length=300)
    video_days: int | None = Field(
        default=None,
        ge=30,
        le=3650,
        description="that the video platform keeps its recordings; CityEye itself records no video",
    )
