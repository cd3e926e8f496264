-- Two APIs side by side. An application's keys are a developer's at one of them: access key id and secret key at MWS,
-- client id and client secret at SP-API's login. A connection's token is what the seller gave: an MWS auth token, or
-- an SP-API refresh token.
ALTER TABLE applications ADD COLUMN api text NOT NULL DEFAULT 'mws' CHECK (api IN ('mws', 'sp-api'));
ALTER TABLE applications ALTER COLUMN api DROP DEFAULT;
ALTER TABLE applications RENAME COLUMN access_key TO key_id;
ALTER TABLE applications RENAME COLUMN secret_key TO secret;
ALTER TABLE connections RENAME COLUMN auth_token TO token;

-- Report types have other names at each API, and each has schedules and a listing of its own.
ALTER TABLE connections
    ADD COLUMN report_types jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN manage_schedules boolean NOT NULL DEFAULT false,
    ADD COLUMN next_full_list_at timestamptz NOT NULL DEFAULT app_now(),
    ADD COLUMN full_listed_at timestamptz;
UPDATE connections c SET report_types = a.report_types, manage_schedules = a.manage_schedules,
    next_full_list_at = a.next_full_list_at, full_listed_at = a.full_listed_at FROM accounts a WHERE a.account = c.account;
ALTER TABLE accounts DROP COLUMN report_types, DROP COLUMN manage_schedules,
    DROP COLUMN next_full_list_at, DROP COLUMN full_listed_at;

-- SP-API's login gives a token for an hour, which all workers share.
ALTER TABLE connections
    ADD COLUMN login_url text,
    ADD COLUMN access_token text,
    ADD COLUMN access_token_until timestamptz;
