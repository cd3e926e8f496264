-- A message to acknowledge is on its way, as `reports.sent_at` says of the other steps: while it waits in a long queue
-- no sweep sends another.
ALTER TABLE connections ADD COLUMN acknowledge_sent_at timestamptz;
