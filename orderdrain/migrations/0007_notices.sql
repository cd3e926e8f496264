-- Push. What Amazon has announced: one row a report, whether we have it or not. Nothing is drained by this table.
CREATE TABLE notices (
    account    text NOT NULL,
    api        text NOT NULL,
    report_id  text NOT NULL,
    heard_at   timestamptz NOT NULL DEFAULT app_now(),
    -- The message in the queue that stands for it until the report is known; all others of it are copies.
    message_id text NOT NULL,
    copies     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (account, api, report_id),
    FOREIGN KEY (account, api) REFERENCES connections
);
CREATE INDEX notices_by_age ON notices (heard_at);

-- How many messages were removed from the queues, by what they were (orderdrain/notices.py) and by day.
CREATE TABLE notice_counts (
    day  date NOT NULL,
    kind text NOT NULL,
    n    bigint NOT NULL,
    PRIMARY KEY (day, kind)
);

-- The queues: when each was last read, and why it cannot be read now.
CREATE TABLE notice_queues (
    url     text PRIMARY KEY,
    read_at timestamptz NOT NULL DEFAULT app_now(),
    failing text
);

-- How far push is trusted: so many listings in a row found nothing that was not announced.
ALTER TABLE connections
    ADD COLUMN listed_at timestamptz,
    ADD COLUMN push_streak integer NOT NULL DEFAULT 0,
    ADD COLUMN push_heard_at timestamptz,
    ADD COLUMN push_queue text;

-- When its last listing was sent: a notice does not make the next one due at once, but a minute after it.
ALTER TABLE accounts ADD COLUMN list_sent_at timestamptz NOT NULL DEFAULT '-infinity';
