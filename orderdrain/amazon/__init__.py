"""The seam to Amazon: what the path of a report needs of a Reports API, whichever one it is.

Every call may raise, besides its own errors: Throttled (quota), ServiceFault (Amazon's trouble), OperatorNeeded
(credentials), each with the `Evidence` of the call. Times are aware datetimes in UTC; ids are text (report ids exceed
2**53). `request_id` is Amazon's id of the call, kept in the history of what the call changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

#: The interval of `set_schedule` that removes a schedule: MWS's own word, and ours at SP-API, which has none.
NEVER = "_NEVER_"


@dataclass(frozen=True)
class ListedReport:
    """One entry of a listing. `available_at`: when Amazon finished it. `marketplaces`: none where Amazon says none."""

    report_id: str
    report_type: str
    available_at: datetime
    acknowledged: bool
    report_request_id: str | None = None
    marketplaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListingPage:
    """One page of a listing. The listing has ended when `next_token` is None. `came_to_nothing`: scheduled reports that
    ended CANCELLED or FATAL, where the API lists them."""

    reports: tuple[ListedReport, ...]
    next_token: str | None
    request_id: str | None
    came_to_nothing: tuple[RequestInfo, ...] = ()


@dataclass(frozen=True)
class Downloaded:
    """What came with a report's bytes, which went to the sink unchanged. `content_type`: as sent, charset included."""

    content_type: str | None
    request_id: str | None


@dataclass(frozen=True)
class Acknowledged:
    """The ids that the answer names as acknowledged; an id that was asked for and is not among them was not."""

    report_ids: frozenset[str]
    request_id: str | None


@dataclass(frozen=True)
class RequestInfo:
    """A requested report as Amazon sees it. `status`: SUBMITTED, IN_PROGRESS, DONE, NO_DATA, CANCELLED or FATAL;
    `reason`: why it is FATAL, in one line."""

    request_id_at_amazon: str
    report_type: str
    status: str
    submitted_at: datetime
    window_start: datetime | None = None
    window_end: datetime | None = None
    scheduled: bool = False
    report_id: str | None = None
    completed_at: datetime | None = None
    reason: str | None = None
    marketplaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class RequestPage:
    """One page of what was requested (and scheduled). There is no other when `next_token` is None."""

    requests: tuple[RequestInfo, ...]
    next_token: str | None
    request_id: str | None


@dataclass(frozen=True)
class ScheduleInfo:
    """A report schedule at Amazon: `every` in Amazon's own word (`_15_MINUTES_`, `PT15M`). `ours`: it is the
    one that `set_schedule` replaces; SP-API may have others of that type, for other marketplaces."""

    report_type: str
    every: str
    ours: bool = True


class ReportsApi(Protocol):
    """One account's connection to one Reports API."""

    api: str
    #: Whether Amazon must be told which reports we have (MWS), or nobody asks (SP-API).
    acknowledges: bool

    def list_reports(
        self,
        *,
        report_types: Sequence[str],
        acknowledged: bool | None,
        since: datetime | None = None,
        next_token: str | None = None,
    ) -> ListingPage:
        """One page of reports; with `next_token`, the page after, whatever else is given. Raises NextTokenLost."""

    def download(self, report_id: str, sink: Callable[[bytes], object]) -> Downloaded:
        """Streams a report's bytes to `sink` in blocks, as sent. Raises BadBody when they are not those announced
        (the sink's content must then be thrown away), GiveUp when Amazon does not know the report."""

    def acknowledge(self, report_ids: Sequence[str]) -> Acknowledged:
        """Tells Amazon that we have these (1 to 100). Raises GiveUp when Amazon refuses the batch."""

    def request_report(
        self,
        report_type: str,
        *,
        start: datetime | None,
        end: datetime | None,
        options: Mapping[str, str],
    ) -> RequestInfo:
        """Asks for a report now, of the account's marketplaces. Raises GiveUp when Amazon refuses the request."""

    def list_requests(
        self,
        *,
        request_ids: Sequence[str] = (),
        report_types: Sequence[str] = (),
        since: datetime | None = None,
        next_token: str | None = None,
    ) -> RequestPage:
        """One page of requested (and scheduled) reports, by their ids or by type and time. Raises NextTokenLost."""

    def list_schedules(self) -> tuple[ScheduleInfo, ...]:
        """All report schedules of the account at Amazon, also those of types that we do not know."""

    def set_schedule(self, report_type: str, every: str) -> str | None:
        """Makes Amazon produce `report_type` every `every`; `_NEVER_` removes. Returns Amazon's request id."""
