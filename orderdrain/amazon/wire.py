"""What both of Amazon's APIs share on the wire: how we name ourselves, bounds, and how times and refusals are told."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

#: The form that MWS asks for, without which it answers UserAgentHeaderMalformed; SP-API takes it too.
USER_AGENT = f"orderdrain/{version('orderdrain')} (Language=Python/{sys.version_info.major}.{sys.version_info.minor})"
#: 100 entries of a listing are about 60 KB.
MAX_ANSWER_BYTES = 8 * 1024 * 1024
#: Far above any order report: a body without end must not fill the archive.
MAX_REPORT_BYTES = 2 * 1024 * 1024 * 1024


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error. `message` is Amazon's text in one line; it may repeat a parameter that we sent."""

    code: str | None
    message: str


def moments(**at: datetime | None) -> dict[str, str]:
    """Parameters that are times, as Amazon reads them; those that are None are left out."""
    return {name: f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for name, moment in at.items() if moment is not None}


def moment(text: str, name: str) -> datetime:
    """A time that Amazon tells, in UTC. Raises ValueError, with the `name` of the field and not its text.

    Recorded dates carry +00:00, SP-API's sandbox's Z and milliseconds (recorded traffic of 2018, 2024 and 2025);
    fixtures written from the MWS schema carry no zone, which means UTC there.
    """
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} is no date") from None
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)


def number(text: str | None) -> float | None:
    """A count or a rate in a header (`60.0`); None for anything else."""
    return float(text) if text is not None and re.fullmatch(r"\s*\d+(\.\d+)?\s*", text) else None
