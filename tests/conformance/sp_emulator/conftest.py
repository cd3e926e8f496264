"""An emulated SP-API that nothing hurries, and one seller's client of it."""

from __future__ import annotations

import pytest

from tests.emulator_process import Emulator
from tests.raw_sp_api import Client


@pytest.fixture
def emulator():
    # At this speed the emulated clock stands still but for /advance: no test hangs on how fast the machine is.
    with Emulator.start(backlog=12, orders_per_minute=1, speed=0.001, sp_api_sellers="acme,bravo") as running:
        yield running


@pytest.fixture
def acme(emulator):
    return Client(emulator, "acme")
