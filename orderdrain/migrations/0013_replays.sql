-- A report whose archived bytes are being parsed again (docs/adr/0020): a lease like a report's, apart from it, since what
-- is acknowledged meanwhile must not wait. A row is there while the work lasts; that of a dead process runs out.
CREATE SEQUENCE replay_fences;
CREATE TABLE replays (
    account     text NOT NULL,
    api         text NOT NULL,
    report_id   text NOT NULL,
    lease_owner text NOT NULL,
    lease_until timestamptz NOT NULL,
    -- Never the same number twice: rows come and go.
    fence       bigint NOT NULL DEFAULT nextval('replay_fences'),
    dry_run     boolean NOT NULL,
    progress    jsonb,
    begun_at    timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (account, api, report_id),
    FOREIGN KEY (account, api, report_id) REFERENCES reports
);

-- How far the step is that has the lease, written with its renewal: rows, bytes, what remains. Of an old lease it says
-- nothing: the next one begins without.
ALTER TABLE reports ADD COLUMN progress jsonb;

-- A line that no report tells any more has the lowest version of all (as_of -infinity). Whether it waits nobody knows: the
-- picture that showed it is forgotten. The columns are those that the view has had.
DO $$
DECLARE
    own text := (SELECT string_agg('l.' || quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = 'current_unshipped_lines'::regclass AND attnum > 0 AND attname <> 'still_unshipped');
BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW current_unshipped_lines AS SELECT ' || own || $view$, CASE
        WHEN l.as_of = '-infinity' THEN NULL
        WHEN newer.snapshots = 0 THEN true
        WHEN newer.without_it THEN false
    END AS still_unshipped
    FROM unshipped_lines l CROSS JOIN LATERAL (
        SELECT count(*) AS snapshots, bool_or(s.rejected = 0 AND l.paid_at >= s.taken_at - interval '38 days') AS without_it
        FROM snapshots s WHERE s.account = l.account
            AND s.scope = (SELECT min(own.scope) FROM snapshots own WHERE own.account = l.account
                AND own.report_id = l.report_id AND own.as_of = l.as_of)
            AND s.taken_at >= l.changed_at AND s.as_of >= l.as_of
            AND (s.as_of, s.report_id::numeric) > (l.as_of, l.report_id::numeric)
    ) AS newer $view$;
END
$$;
