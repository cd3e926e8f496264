"""The two APIs, each in its own words: for tests that say the same of both."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Api:
    """Its name, the report type that the emulated sellers have there, and its words for what it does."""

    name: str
    report_type: str
    listing: str
    next_page: str
    #: What quota gives least of: a report's bytes, or where they lie.
    document: str
    request: str
    throttled: str
    token_lost: str

    def __str__(self) -> str:
        return self.name


MWS = Api(
    "mws",
    "_GET_FLAT_FILE_ORDERS_DATA_",
    listing="GetReportList",
    next_page="GetReportListByNextToken",
    document="GetReport",
    request="RequestReport",
    throttled="RequestThrottled",
    token_lost="NextTokenCorrupted",
)
SP_API = Api(
    "sp-api",
    "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING",
    listing="getReports",
    next_page="getReports",
    document="getReportDocument",
    request="createReport",
    throttled="QuotaExceeded",
    token_lost="InvalidInput",
)
