-- The ledger: one row a report. The row is the truth about its progress; a message is a hint.
CREATE TABLE reports (
    account           text NOT NULL,
    api               text NOT NULL,
    report_id         text NOT NULL CHECK (report_id ~ '^[0-9]{1,30}$'),
    report_type       text NOT NULL,
    report_request_id text,
    available_at      timestamptz NOT NULL,
    listing           bigint NOT NULL,
    state             text NOT NULL DEFAULT 'listed'
        CHECK (state IN ('listed', 'downloaded', 'parsed', 'acknowledged', 'quarantined')),
    -- Where a person's `requeue` brings a quarantined report back to.
    quarantined_from  text CHECK (quarantined_from IN ('listed', 'downloaded', 'parsed')),
    -- Attempts at the step that comes next; counted in the commit that takes the lease, before the work.
    attempts          integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at   timestamptz NOT NULL DEFAULT app_now(),
    -- One line: why it waits, why the last attempt failed, or why it is quarantined.
    reason            text,
    -- A message is on its way.
    sent_at           timestamptz,
    lease_owner       text,
    lease_until       timestamptz,
    fence             bigint NOT NULL DEFAULT 0,
    -- Its bytes, exactly as Amazon sent them.
    archive_key       text,
    bytes             bigint,
    sha256            text,
    content_type      text,
    -- How they were decoded, and why so.
    encoding          text,
    encoding_reason   text,
    -- What its rows became.
    outcome           text CHECK (outcome IN ('rows', 'empty')),
    rows_read         integer,
    rows_new          integer,
    rows_changed      integer,
    rows_same         integer,
    rows_older        integer,
    rows_joined       integer,
    rows_rejected     integer,
    listed_at         timestamptz NOT NULL DEFAULT app_now(),
    downloaded_at     timestamptz,
    parsed_at         timestamptz,
    acknowledged_at   timestamptz,
    PRIMARY KEY (account, api, report_id),
    FOREIGN KEY (account, api) REFERENCES connections,
    CHECK ((lease_owner IS NULL) = (lease_until IS NULL)),
    CHECK ((state = 'quarantined') = (quarantined_from IS NOT NULL)),
    CHECK (state IN ('listed', 'quarantined') OR archive_key IS NOT NULL),
    CONSTRAINT every_row_is_accounted_for
        CHECK (rows_read = rows_new + rows_changed + rows_same + rows_older + rows_joined + rows_rejected),
    CONSTRAINT parsed_means_counted
        CHECK (state NOT IN ('parsed', 'acknowledged') OR (rows_read IS NOT NULL AND outcome IS NOT NULL))
);

-- Finished reports are most of the table, and none of the work: the sweep sees only the rest.
CREATE INDEX reports_unfinished ON reports (account, api, state, next_attempt_at)
    WHERE state IN ('listed', 'downloaded', 'parsed');
CREATE INDEX reports_quarantined ON reports (account, api, report_id) WHERE state = 'quarantined';
CREATE INDEX reports_by_id ON reports (report_id);

-- What happened to a report, append-only.
CREATE TABLE report_history (
    history_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account    text NOT NULL,
    api        text NOT NULL,
    report_id  text NOT NULL,
    at         timestamptz NOT NULL DEFAULT app_now(),
    step       text NOT NULL,
    event      text NOT NULL,
    from_state text,
    to_state   text NOT NULL,
    attempt    integer,
    worker     text,
    detail     text,
    request_id text,
    FOREIGN KEY (account, api, report_id) REFERENCES reports
);
CREATE INDEX report_history_of_report ON report_history (account, api, report_id, history_id);

-- A report asked for. Our own key is written before Amazon is called.
CREATE TABLE report_requests (
    account           text NOT NULL,
    request_key       text NOT NULL,
    api               text NOT NULL,
    report_type       text NOT NULL,
    window_start      timestamptz,
    window_end        timestamptz CHECK (window_end > window_start),
    options           jsonb NOT NULL DEFAULT '{}',
    -- asked: not yet known to be at Amazon; then Amazon's own words, less their underscores.
    status            text NOT NULL DEFAULT 'asked'
        CHECK (status IN ('asked', 'submitted', 'in_progress', 'done', 'no_data', 'cancelled', 'fatal', 'refused')),
    amazon_request_id text,
    report_id         text,
    -- Stuck for a day: asked for once more under this key, and still followed.
    stuck_at          timestamptz,
    asked_again_as    text,
    attempts          integer NOT NULL DEFAULT 0,
    next_attempt_at   timestamptz NOT NULL DEFAULT app_now(),
    sent_at           timestamptz,
    lease_owner       text,
    lease_until       timestamptz,
    fence             bigint NOT NULL DEFAULT 0,
    reason            text,
    asked_at          timestamptz NOT NULL DEFAULT app_now(),
    submitted_at      timestamptz,
    ended_at          timestamptz,
    PRIMARY KEY (account, request_key),
    FOREIGN KEY (account, api) REFERENCES connections
);
CREATE UNIQUE INDEX report_requests_at_amazon ON report_requests (account, api, amazon_request_id);
CREATE INDEX report_requests_open ON report_requests (next_attempt_at)
    WHERE status IN ('asked', 'submitted', 'in_progress');

-- What the broker remembers. A Redis that was flushed has forgotten this word, and with it every message.
CREATE TABLE broker (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    word     text NOT NULL
);
INSERT INTO broker (word) VALUES (gen_random_uuid()::text);
