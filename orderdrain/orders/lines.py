"""The merge of a report's lines into their table: newest wins, column by column where layouts differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderdrain.families import EXTRA

if TYPE_CHECKING:
    from orderdrain.orders.told import Told


def merge_lines(report: Told) -> str:
    """The statement that inserts new lines, updates those that this report is newer for, and fills in for older reports
    the columns that no newer one has told. Its one row counts new, changed, same, older; `undisturbed` tells whether
    nobody else wrote a row that it had to."""
    family, fields, told, layout = report.family, report.fields, report.names, report.layout
    table, version = family.table, ", ".join(report.version)
    matches = " AND ".join(f"t.{k} = i.{k}" for k in family.key)
    key, columns, versions = ", ".join(family.key), ", ".join(fields), ", ".join(family.version)
    differs = " OR ".join(
        [_if_told(report, f, f"t.{f} IS DISTINCT FROM i.{f}", "false") for f in fields]
        + ["newer_extra IS DISTINCT FROM t.extra"]
    )
    fills = " OR ".join(
        [f"('{f}' = ANY(filled) AND t.{f} IS DISTINCT FROM i.{f})" for f in fields]
        + ["(filled IS NOT NULL AND filled_extra IS DISTINCT FROM t.extra)"]
    )
    digest = _digest(report)
    if_kept = f"CASE WHEN t.purged_at IS NULL THEN {digest} END" if report.family.in_line else digest
    kept = f", digest = {if_kept}" if digest else ""
    moves_on = ", ".join(f"{c} = {v}" for c, v in zip(family.version, report.version, strict=True))
    in_line = f"CROSS JOIN LATERAL (SELECT {report.tells_in_line} AS tells_in_line) AS own" if report.in_line else ""
    return f"""
        WITH pass AS ({report.rows}),
        judged AS (
            SELECT i.*, t.at, t.{family.key[0]} IS NULL AS is_new,
                {report.compared(">")} AS is_newer, {report.compared("<")} AS is_older,
                said, filled, newer_extra, filled_extra, ({differs}) AS differs, ({fills}) AS fills
                {", tells_in_line" if report.in_line else ""}
            FROM pass i
            -- A row at a time by the key: this is planned once, maybe for a table that nobody has filled yet.
            LEFT JOIN LATERAL (
                SELECT t.*, t.ctid AS at FROM {table} t WHERE t.account = %(account)s AND {matches} LIMIT 1
            ) AS t ON true
            LEFT JOIN layouts l ON l.layout = t.layout
            CROSS JOIN LATERAL (SELECT coalesce(i.extra, '{{}}') AS said) AS none
            {in_line}
            -- OFFSET 0 keeps these apart: folded into the rest they are planned, and run, once for each column.
            CROSS JOIN LATERAL (
                SELECT (t.extra - %(extra)s::text[]) || said AS newer_extra,
                    -- Columns that this report tells and that no newer one has told: none where the layout is the same.
                    CASE WHEN t.layout <> {layout} THEN (
                        SELECT array_agg(c) FROM unnest({told}) c WHERE c <> ALL(l.columns) AND coalesce(
                            t.older_columns->>c < version_key({version}) COLLATE "C", true)
                    ) END AS filled
                OFFSET 0
            ) AS one
            CROSS JOIN LATERAL (
                SELECT CASE WHEN filled IS NOT NULL THEN (
                    SELECT coalesce(jsonb_object_agg(k, v) FILTER (WHERE v IS NOT NULL), '{{}}') FROM (
                        SELECT k, CASE WHEN '{EXTRA}.' || k = ANY(filled) THEN said->k ELSE t.extra->k END AS v
                        FROM (SELECT jsonb_object_keys(t.extra || said)) AS keys (k)) AS kept
                ) END AS filled_extra
                OFFSET 0
            ) AS two
            WHERE i.pass = %(pass)s
        ),
        inserted AS (
            INSERT INTO {table} (account, {key}, {versions}, layout, {columns}, extra{", digest" if digest else ""})
            SELECT %(account)s, {key}, {version}, {layout}, {columns}, said{f", {digest}" if digest else ""}
            FROM judged i WHERE is_new ORDER BY {key}
        ),
        updated AS (
            UPDATE {table} t SET {"".join(f"{f} = {_if_told(report, f, f'i.{f}', f't.{f}')}, " for f in fields)}
                extra = i.newer_extra, {moves_on}, layout = {layout}{kept},
                older_columns = CASE WHEN t.layout = {layout} THEN t.older_columns
                    ELSE (t.older_columns - {told}) || coalesce((
                        SELECT jsonb_object_agg(c, version_key({", ".join(report.stored_version)})) FROM layouts l,
                        unnest(l.columns) c WHERE l.layout = t.layout AND c <> ALL({told})), '{{}}') END
            -- By its place, which takes less than to look for the key again.
            FROM judged i WHERE t.ctid = i.at AND i.is_newer RETURNING 1
        ),
        filled AS (
            UPDATE {table} t SET
                {"".join(f"{f} = CASE WHEN '{f}' = ANY(i.filled) THEN i.{f} ELSE t.{f} END, " for f in fields)}
                extra = i.filled_extra,
                older_columns = t.older_columns || (SELECT
                    jsonb_object_agg(c, version_key({version})) FROM unnest(i.filled) c)
            FROM judged i WHERE t.ctid = i.at AND i.is_older AND i.filled IS NOT NULL RETURNING 1
        )
        SELECT count(*) FILTER (WHERE is_new) AS new,
            count(*) FILTER (WHERE is_newer AND differs OR is_older AND fills) AS changed,
            count(*) FILTER (WHERE NOT is_new AND NOT is_older AND NOT (is_newer AND differs)) AS same,
            count(*) FILTER (WHERE is_older AND NOT coalesce(fills, false)) AS older,
            count(*) FILTER (WHERE is_newer OR is_older AND filled IS NOT NULL)
                = (SELECT count(*) FROM updated) + (SELECT count(*) FROM filled) AS undisturbed
        FROM judged
    """


def _digest(report: Told) -> str:
    """The line's digest, but for one that tells of a buyer who was purged: none may outlive that. A row that was purged
    itself gets none either."""
    if not report.family.keeps_digests:
        return ""
    key = f"b.order_id = i.order_id AND b.line_key = i.{report.family.key[-1]}"
    purged = f"SELECT b.purged_at FROM buyers b WHERE b.account = %(account)s AND b.family = %(family)s AND {key}"
    # By LIMIT it is one look for each line; as EXISTS it may be planned as one at all buyers.
    return f"CASE WHEN i.digest IS NOT NULL AND ({purged} LIMIT 1) IS NULL THEN i.digest END"


def _if_told(report: Told, field: str, told: str, otherwise: str) -> str:
    """A report tells its columns in every row, but for personal ones: there a row may say nothing."""
    return f"CASE WHEN tells_in_line THEN {told} ELSE {otherwise} END" if field in report.in_line else told
