-- Application time. One row says how it follows from real time: the same, except in the demo and in tests, where it
-- jumps or runs faster together with the emulator's. STABLE and by statement_timestamp(), so that it may be compared
-- with an indexed column.
CREATE TABLE app_clock (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    real_anchor timestamptz NOT NULL,
    app_anchor  timestamptz NOT NULL,
    speed       double precision NOT NULL DEFAULT 1 CHECK (speed > 0)
);
INSERT INTO app_clock (real_anchor, app_anchor) SELECT now(), now();

CREATE FUNCTION app_now() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT app_anchor + (statement_timestamp() - real_anchor) * speed FROM app_clock';

-- The span of application time that lasts `seconds` of real time: a lease watches a process, and processes live in
-- real time, however fast the application's clock runs.
CREATE FUNCTION real_seconds(seconds double precision) RETURNS interval LANGUAGE sql STABLE AS
    'SELECT make_interval(secs => seconds * speed) FROM app_clock';

-- A developer's keys. One bad key pauses all that use it, and is one thing to mend.
CREATE TABLE applications (
    application   text PRIMARY KEY CHECK (application ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    access_key    text NOT NULL,
    secret_key    text NOT NULL,
    paused_at     timestamptz,
    paused_reason text,
    created_at    timestamptz NOT NULL DEFAULT app_now()
);

-- A seller in a region: what it wants to have, and when it is looked at next.
CREATE TABLE accounts (
    account           text PRIMARY KEY CHECK (account ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    seller_id         text NOT NULL,
    marketplaces      text[] NOT NULL,
    -- Declared report types, each with its interval in Amazon's word: {"_GET_FLAT_FILE_ORDERS_DATA_": "_15_MINUTES_"}.
    report_types      jsonb NOT NULL,
    manage_schedules  boolean NOT NULL DEFAULT false,
    list_every        interval NOT NULL DEFAULT '15 minutes' CHECK (list_every > '0'),
    next_list_at      timestamptz NOT NULL DEFAULT app_now(),
    -- Once a day without the Acknowledged filter, back to the last such listing that was complete.
    next_full_list_at timestamptz NOT NULL DEFAULT app_now(),
    full_listed_at    timestamptz,
    next_schedule_at  timestamptz NOT NULL DEFAULT app_now(),
    created_at        timestamptz NOT NULL DEFAULT app_now()
);

-- How one API reaches an account.
CREATE TABLE connections (
    account            text NOT NULL REFERENCES accounts,
    api                text NOT NULL CHECK (api IN ('mws', 'sp-api')),
    application        text NOT NULL REFERENCES applications,
    endpoint           text NOT NULL,
    auth_token         text,
    paused_at          timestamptz,
    paused_reason      text,
    -- The turn: an account is listed or acknowledged, never both at once, since acknowledging changes the very set
    -- that a listing pages through. A lease like a report's: owner, expiry, fence.
    turn               text CHECK (turn IN ('list', 'acknowledge')),
    turn_owner         text,
    turn_until         timestamptz,
    turn_fence         bigint NOT NULL DEFAULT 0,
    -- Listings are numbered. A report may be acknowledged once a listing with its number, or a later one, has ended.
    listing            bigint NOT NULL DEFAULT 0,
    listed             bigint NOT NULL DEFAULT 0,
    -- A listing that waits for quota between two pages: where it goes on, and what it began with.
    listing_token      text,
    listing_full       boolean NOT NULL DEFAULT false,
    listing_since      timestamptz,
    listing_started_at timestamptz,
    listing_attempts   integer NOT NULL DEFAULT 0,
    -- Quota says not before: no download (no acknowledgement) of this connection is begun until then.
    download_after     timestamptz NOT NULL DEFAULT '-infinity',
    acknowledge_after  timestamptz NOT NULL DEFAULT '-infinity',
    created_at         timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (account, api)
);
