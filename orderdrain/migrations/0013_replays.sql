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
