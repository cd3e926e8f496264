-- A scheduled report that came to nothing (CANCELLED, FATAL) is entered beside the requested ones: followed, and asked for
-- again, like them. Its key is its id at Amazon.
ALTER TABLE report_requests ADD COLUMN scheduled boolean NOT NULL DEFAULT false;
-- How many askings for the same came before this one.
ALTER TABLE report_requests ADD COLUMN again integer NOT NULL DEFAULT 0;
UPDATE report_requests SET again = 1 WHERE request_key LIKE '%-again';

-- What came to nothing, and was not asked for again: what `orderdrain status` tells.
CREATE INDEX report_requests_to_nothing ON report_requests (account)
    WHERE asked_again_as IS NULL AND status IN ('cancelled', 'fatal', 'refused');

-- A listing of this connection waits (a quota, a failure): not before.
ALTER TABLE connections ADD COLUMN list_after timestamptz NOT NULL DEFAULT '-infinity';

-- The operation that refused an access token and, shortened by a hash, the newer one that quota kept from being tried there.
ALTER TABLE connections ADD COLUMN renewed_for text;
