"""Personal columns, apart from the lines: each group by the newest version that told any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderdrain.families import EXTRA
from orderdrain.orders.incoming import buyer_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orderdrain.orders.told import Told


def merge_buyers(report: Told) -> str:
    """The statement that takes each group which holds any value and is newer than what the buyer's row has."""
    groups, key = report.family.buyer_groups, ("order_id", report.family.key[-1])
    told, takes = {g: _is_told(g, fields) for g, fields in groups.items()}, {g: _is_newer(g) for g in groups}
    columns = [(group, f) for group, fields in groups.items() for f in fields]
    versions = (f"CASE WHEN {told[g]} THEN jsonb_build_object('{g}', v) ELSE '{{}}' END" for g in groups)
    sets = (f"{f} = CASE WHEN {takes[g]} THEN EXCLUDED.{f} ELSE b.{f} END" for g, f in columns)
    taken = (
        f"CASE WHEN {takes[g]} THEN jsonb_build_object('{g}', EXCLUDED.versions->'{g}') ELSE '{{}}' END" for g in groups
    )
    return f"""
        INSERT INTO buyers AS b (account, family, order_id, line_key, versions, {", ".join(f for _, f in columns)})
        SELECT %(account)s, %(family)s, {", ".join(key)}, {" || ".join(versions)},
            {", ".join(_value(f) for _, f in columns)}
        FROM ({report.rows}) i, LATERAL (SELECT version_key({", ".join(report.version)}) AS v) AS version
        WHERE i.pass = %(pass)s AND ({" OR ".join(told.values())})
        ORDER BY {", ".join(key)}
        ON CONFLICT (account, family, order_id, line_key) DO UPDATE SET {", ".join(sets)},
            versions = b.versions || {" || ".join(taken)}
        WHERE b.purged_at IS NULL AND ({" OR ".join(takes.values())})
    """


def _is_told(group: str, fields: Sequence[str]) -> str:
    if group == EXTRA:
        return f"i.{buyer_field(EXTRA)} <> '{{}}'"
    return f"num_nonnulls({', '.join(f'i.{buyer_field(f)}' for f in fields)}) > 0"


def _is_newer(group: str) -> str:
    newer = f"EXCLUDED.versions->>'{group}' > b.versions->>'{group}' COLLATE \"C\""
    return f"(EXCLUDED.versions ? '{group}' AND coalesce({newer}, true))"


def _value(field: str) -> str:
    return f"coalesce(i.{buyer_field(field)}, '{{}}')" if field == EXTRA else f"i.{buyer_field(field)}"
