"""Settings of what is exchanged with other systems: `[exchange]`."""

import ipaddress
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from protocol.broker import BrokerLine
from protocol.documents import Section
from protocol.ids import Slug

_PREFIX: Final = r"^[^/#+\s][^#+\s]*[^/#+\s]$|^[^/#+\s]$"


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for one in given:
        try:
            ipaddress.ip_network(one)
        except ValueError:
            raise ValueError(f"expected networks such as 10.0.0.0/24, got {one!r:.60}") from None
    return given


class Open311Section(Section):
    """Open311 GeoReport v2, at `/open311/v2`."""

    enabled: bool = Field(default=False, description="answer at all")
    anonymous: bool = Field(default=False, description="take requests without an API key, a few of each address")
    jurisdictions: dict[str, Slug] = Field(
        default={}, description="street of each jurisdiction_id; empty: the streets by their own ids"
    )


class WebhooksSection(Section):
    """Programs elsewhere that are told of tickets; which ones is in the database."""

    networks: Annotated[tuple[str, ...], AfterValidator(_networks)] = Field(
        default=(), description="private networks in which receivers may be; all others are refused as they are called"
    )


class OnvifSection(Section):
    """Incidents as ONVIF events (JSON) at the broker."""

    enabled: bool = False
    broker: BrokerLine | None = Field(
        default=None, description="of whoever listens, or the center's own under another name than the collector's"
    )
    prefix: str = Field(
        default="cityeye-onvif", pattern=_PREFIX, description="TopicPrefix: the first part of each topic"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.enabled and self.broker is None:
            raise ValueError("expected broker beside enabled: where events go, and under which name")
        return self


class StreetPageSection(Section):
    """The page of each street for residents and shops, at `/street`; nobody signs in for it."""

    enabled: bool = Field(default=False, description="show it at all")
    proposals: bool = Field(default=True, description="take proposals and comments, shown once a person allowed them")
    keep_days: int = Field(default=365, ge=30, le=3650, description="that a proposal is kept after its last change")


class ExchangeSection(Section):
    """All of it."""

    open311: Open311Section = Open311Section()
    webhooks: WebhooksSection = WebhooksSection()
    onvif: OnvifSection = OnvifSection()
