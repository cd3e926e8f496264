"""One SP-API call in work: what an operation is given, how it reads that, and what it gives back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emulator.parameters import Parameters, Refusal, parse_moment
from emulator.sp_report_types import SP_REPORT_TYPES

if TYPE_CHECKING:
    from datetime import datetime

    from emulator.account import Account
    from emulator.documents import Documents
    from emulator.lwa import Grant, Tokens
    from emulator.world import World


class Invalid(Refusal):
    """400: what was sent is not what the model asks for."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidInput", message)


class Missing(Refusal):
    """404: no such thing of this seller."""

    def __init__(self, message: str) -> None:
        super().__init__("NotFound", message, status=404)


class Denied(Refusal):
    """403 as recorded; `details` tells, as far as anything does, an unfit token from a missing right."""

    def __init__(self, details: str = "") -> None:
        super().__init__("Unauthorized", "Access to requested resource is denied.", status=403)
        self.details = details


@dataclass(frozen=True)
class SpCall:
    """A call that passed authentication and quota. `host` is the name by which the caller reaches this server,
    `path_id` the id in the call's path, decoded.

    What it does not know among parameters and fields is ignored: published clients send more than the model has.
    """

    world: World
    account: Account
    tokens: Tokens
    documents: Documents
    grant: Grant
    host: str
    path_id: str
    parameters: Parameters
    body: dict[str, Any]
    now: datetime
    fault: str | None

    def several(self, name: str) -> list[str]:
        """A list in one parameter, separated by commas (or in several of the same name), ten at the most."""
        values = [value for key, text in self.parameters.pairs if key == name for value in text.split(",") if value]
        if len(values) > 10:
            raise Invalid(f"{name} holds more than 10 values.")
        return values

    def report_types(self) -> set[str]:
        """The parameter reportTypes; Invalid without one."""
        types = set(self.several("reportTypes"))
        if not types:
            raise Invalid("reportTypes is missing.")
        return types

    def page_size(self) -> int:
        """1 to 100, 10 when absent (SP-API model)."""
        text = self.parameters.text("pageSize") or "10"
        if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= 100:
            raise Invalid("pageSize must be a number from 1 to 100.")
        return int(text)

    def moment(self, name: str) -> datetime | None:
        """A date among the parameters or in the body, in UTC, to the second below."""
        value = self.parameters.text(name) or self.body.get(name)
        if value is None:
            return None
        try:
            return parse_moment(name, str(value)).replace(microsecond=0)
        except Refusal as refusal:
            raise Invalid(refusal.message) from None

    def allowed_type(self, what: str) -> str:
        """The body's reportType, which must be `requestable` or `schedulable`."""
        name = str(self.body.get("reportType", ""))
        kind = SP_REPORT_TYPES.get(name)
        if kind is None or kind.country not in {None, self.account.seller.home.country}:
            raise Invalid("reportType is not a report type of this seller.")
        if not getattr(kind, what):
            raise Invalid(f"{name} is not {what}.")
        return name

    def marketplace_ids(self) -> tuple[str, ...]:
        """The body's marketplaceIds: 1 to 25 (SP-API model), all of them the seller's."""
        wanted = self.body.get("marketplaceIds")
        known = {marketplace.marketplace_id for marketplace in self.account.seller.marketplaces}
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= 25 or not known.issuperset(map(str, wanted)):
            raise Invalid("marketplaceIds must name 1 to 25 marketplaces of this seller.")
        return tuple(wanted)

    def options(self) -> dict[str, str]:
        """The body's reportOptions: texts by name."""
        options = self.body.get("reportOptions", {})
        if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
            raise Invalid("reportOptions must be texts by name.")
        return options


@dataclass(frozen=True)
class SpOutcome:
    """`answer` is the JSON body."""

    answer: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    report_ids: list[str] = field(default_factory=list)
