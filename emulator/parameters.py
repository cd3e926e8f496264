"""Typed access to a call's parameters, with Amazon's rules and refusals."""

from __future__ import annotations

import re
from datetime import UTC, datetime


class Refusal(Exception):
    """Amazon says no: its code, what is wrong, the HTTP status."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Parameters:
    """The parameters of one call, decoded, in the order in which they came."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs
        self._values = dict(pairs)

    def text(self, name: str) -> str | None:
        """The value, or None where it is absent or empty."""
        return self._values.get(name) or None

    def required(self, name: str) -> str:
        """The value; Refusal without one."""
        value = self.text(name)
        if value is None:
            raise Refusal("InvalidParameterValue", f"The parameter {name} is missing.")
        return value

    def moment(self, name: str) -> datetime | None:
        """A date in any of the ISO 8601 forms that clients send, in UTC, to the second below."""
        value = self.text(name)
        return parse_moment(name, value).replace(microsecond=0) if value else None

    def flag(self, name: str) -> bool | None:
        """True or false, sent in any case; None when absent."""
        value = (self.text(name) or "").lower()
        if value not in {"", "true", "false"}:
            raise Refusal("InvalidParameterValue", f"{name} must be true or false.")
        return value == "true" if value else None

    def list(self, name: str) -> list[str]:
        """`Name.1`, `Name.2`... in the order of their numbers, 100 at the most (MWS documentation).

        The documentation's own example writes `ReportIdList.id.2`, so the case of the name is forgiven.
        """
        pattern = re.compile(re.escape(name) + r"\.(\d+)", re.IGNORECASE)
        numbered = [(int(match[1]), value) for key, value in self.pairs if (match := pattern.fullmatch(key)) and value]
        if len(numbered) > 100:
            raise Refusal("InvalidParameterValue", f"{name} holds more than 100 values.")
        return [value for _, value in sorted(numbered)]

    def max_count(self) -> int:
        """MaxCount: 1 to 100, 10 when absent (MWS documentation)."""
        value = self.text("MaxCount") or "10"
        if not re.fullmatch(r"\d{1,9}", value) or not 1 <= int(value) <= 100:
            raise Refusal("InvalidParameterValue", "MaxCount must be a number from 1 to 100.")
        return int(value)


def parse_moment(name: str, value: str) -> datetime:
    """ISO 8601 with any offset; without one it is UTC."""
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refusal("InvalidParameterValue", f"{name} is not an ISO 8601 date.") from None
