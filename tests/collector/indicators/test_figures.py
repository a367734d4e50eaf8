"""Figures of a street whose tickets go through the real desk, against ones that are counted by hand."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from collector.indicators import keeping, packs
from collector.indicators.definitions import COUNTS, document
from collector.indicators.figures import Loaded, Period, _spreads
from collector.people.actor import Actor, Grant
from collector.store import PackedDay, Ticket
from tests import second_opinion
from tests.services import ROOT
