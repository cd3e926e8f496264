"""Rows for COPY, as text in UTF-8, of lines that are usual: what is not told by a line stands before its own cells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orderdrain.families import EXTRA
from orderdrain.orders.incoming import buyer_field, escaped

if TYPE_CHECKING:
    from orderdrain.parsers import UsualLine, UsualLines
    from orderdrain.reports import Report


class ReadyRows:
    """The rows of one report; `layouts`: of a line that tells its personal columns, and of one that does not."""

    def __init__(self, report: Report, usual: UsualLines, layouts: list[int]) -> None:
        self._family = family = usual.layout.family
        self._instant = usual.instant
        self._sets, self._has_time = bool(family.line_key), family.changed_by is not None
        self._layouts = [str(layout).encode() for layout in layouts]
        account, as_of = escaped(report.key.account), report.available_at.isoformat()
        self._as_of = as_of.encode()
        self._of_report = "\t".join((account, as_of, report.key.report_id, *(("t",) if self._sets else ()))).encode()
        self._of_buyer = f"{account}\t{family.name}".encode()
        self._version = f"{_sortable(report.available_at)}/{report.key.report_id:0>30}"
        sets, time, key = ("is_whole",) * self._sets, ("changed_at",) * self._has_time, ("line_key",) * self._sets
        self.columns = (
            "account",
            "as_of",
            "report_id",
            *sets,
            "line",
            "digest",
            "layout",
            *time,
            *key,
            EXTRA,
            *usual.layout.fields,
        )
        self.changed_columns = (
            *(("scope",) if self._sets else ()),
            "line",
            "digest",
            *key,
            EXTRA,
            *usual.layout.fields,
            *map(buyer_field, (*usual.layout.buyer_fields, EXTRA)),
        )
        self.buyer_columns = (
            "account",
            "family",
            "order_id",
            "line_key",
            "versions",
            EXTRA,
            *usual.layout.buyer_fields,
        )
        self._groups = [
            (group, [at for at, name in enumerate(usual.layout.buyer_fields) if name in fields])
            for group, fields in family.buyer_groups.items()
            if group != EXTRA
        ]

    def new(self, number: int, digest: bytes, said: UsualLine) -> bytes:
        """A row of the family's table."""
        key, own, changed, tells_in_line, extra, _, _ = said
        before = b"%b\t%d\t%b\t%b" % (self._of_report, number, digest, self._layouts[not tells_in_line])
        if self._has_time:
            before += b"\t" + (changed or self._as_of)
        if self._sets:
            before += b"\t" + key.partition(b"\t")[2]
        return b"%b\t%b\t%b\n" % (before, extra or b"{}", own)

    def changed(self, number: int, digest: bytes, said: UsualLine) -> bytes:
        """A row of the temporary table."""
        scope, own = ((b"0",), (said.key.partition(b"\t")[2],)) if self._sets else ((), ())
        return (
            b"\t".join((*scope, b"%d" % number, digest, *own, said.extra, said.own, *said.buyer, said.buyer_extra))
            + b"\n"
        )

    def buyer(self, number: int, said: UsualLine) -> bytes:
        """A row of `buyers`, of a line that tells something of one."""
        told = [group for group, places in self._groups if any(said.buyer[at] for at in places)]
        version = f"{self._version}/{number:010}"
        if self._has_time:
            changed = _sortable(self._instant(said.changed)) if said.changed else self._version.partition("/")[0]
            version = f"{changed}/{version}"
        version = f"1/{version}" if self._sets else version
        versions = ", ".join([f'"{group}": "{version}"' for group in (*told, *((EXTRA,) if said.buyer_extra else ()))])
        return (
            b"\t".join((self._of_buyer, said.key, b"{%b}" % versions.encode(), said.buyer_extra or b"{}", *said.buyer))
            + b"\n"
        )


def _sortable(at: datetime) -> str:
    """As version_key (migrations/0003) writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
