"""A street, as tests of tickets have it."""

from tests.collector.tickets.conftest import street

__all__ = ["street"]
