-- What runs before an update locks each row first, and writes that down: every version that moved on paid for a purge
-- that it was not. After the update only a purge pays (docs/adr/0019).
DROP TRIGGER purged_without_digest ON all_order_lines;
DROP FUNCTION no_digest;
CREATE FUNCTION no_digest_of_purged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE all_order_lines SET digest = NULL
        WHERE account = NEW.account AND order_id = NEW.order_id AND line_key = NEW.line_key;
    RETURN NULL;
END $$;
CREATE TRIGGER purged_without_digest AFTER UPDATE ON all_order_lines FOR EACH ROW
    WHEN (NEW.purged_at IS NOT NULL AND NEW.digest IS NOT NULL) EXECUTE FUNCTION no_digest_of_purged();
