"""What the tests of more than one client of Amazon begin with."""

from __future__ import annotations

import pytest

from tests.scripted_mws import scripted_mws


@pytest.fixture
def amazon():
    """A server that answers what a test tells it to, whichever API it is asked in."""
    with scripted_mws() as server:
        yield server
