-- A refusal may come after a person has stored other keys, or has resumed what was paused: it was earned by an older
-- version, and pauses nothing.
ALTER TABLE applications ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE connections ADD COLUMN version integer NOT NULL DEFAULT 1;
