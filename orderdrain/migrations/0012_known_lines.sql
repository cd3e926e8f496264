-- A digest of the line, as the report had it, that the row was made of: who meets the same line again need not read it
-- (docs/adr/0019). It is keyed, and NULL where the line is not to be known again: it was not read by itself, or what it
-- said of a buyer was purged.
ALTER TABLE order_lines ADD COLUMN digest uuid;
ALTER TABLE all_order_lines ADD COLUMN digest uuid;
ALTER TABLE pending_lines ADD COLUMN digest uuid;
ALTER TABLE fba_shipment_lines ADD COLUMN digest uuid;

-- No digest outlives what it was made of, whoever purges.
CREATE FUNCTION no_digest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.digest := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER purged_without_digest BEFORE UPDATE ON all_order_lines FOR EACH ROW
    WHEN (NEW.purged_at IS NOT NULL AND NEW.digest IS NOT NULL) EXECUTE FUNCTION no_digest();

CREATE FUNCTION no_digest_of_buyer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE OLD.family
        WHEN 'new_orders' THEN UPDATE order_lines SET digest = NULL
            WHERE account = OLD.account AND order_id = OLD.order_id AND order_item_id = OLD.line_key;
        WHEN 'all_orders' THEN UPDATE all_order_lines SET digest = NULL
            WHERE account = OLD.account AND order_id = OLD.order_id AND line_key = OLD.line_key;
        WHEN 'pending' THEN UPDATE pending_lines SET digest = NULL
            WHERE account = OLD.account AND order_id = OLD.order_id AND order_item_id = OLD.line_key;
        WHEN 'fba_shipments' THEN UPDATE fba_shipment_lines SET digest = NULL
            WHERE account = OLD.account AND shipment_item_id = OLD.line_key;
        ELSE NULL;
    END CASE;
    RETURN NULL;
END $$;
CREATE TRIGGER purged_without_digest AFTER UPDATE ON buyers FOR EACH ROW
    WHEN (NEW.purged_at IS DISTINCT FROM OLD.purged_at) EXECUTE FUNCTION no_digest_of_buyer();
CREATE TRIGGER deleted_without_digest AFTER DELETE ON buyers FOR EACH ROW EXECUTE FUNCTION no_digest_of_buyer();

-- Most lines of All Orders are told again, and again: in a page with room for it the new version of a row stands beside
-- the old one, and the index stays as it is.
ALTER TABLE all_order_lines SET (fillfactor = 45);

-- Every row is written with the report's own, which is of an account; a look for each of 200,000 rows costs as much as
-- writing them. Layouts are never deleted.
ALTER TABLE order_lines DROP CONSTRAINT order_lines_account_fkey, DROP CONSTRAINT order_lines_layout_fkey;
ALTER TABLE all_order_lines DROP CONSTRAINT all_order_lines_account_fkey, DROP CONSTRAINT all_order_lines_layout_fkey;
ALTER TABLE pending_lines DROP CONSTRAINT pending_lines_account_fkey, DROP CONSTRAINT pending_lines_layout_fkey;
ALTER TABLE fba_shipment_lines DROP CONSTRAINT fba_shipment_lines_account_fkey,
    DROP CONSTRAINT fba_shipment_lines_layout_fkey;
ALTER TABLE buyers DROP CONSTRAINT buyers_account_fkey;
