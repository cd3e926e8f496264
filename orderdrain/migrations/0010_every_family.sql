-- The tables of the other families, each after the same pattern as order_lines: its key, the version (the weightiest
-- column first), what older reports told, and the family's own columns.

-- A layout may have hundreds of columns (taxes, in XML), more than an index entry holds: its digest has to do.
CREATE FUNCTION layout_digest(columns text[]) RETURNS text IMMUTABLE LANGUAGE sql AS
    $$ SELECT md5(array_to_string(columns, E'\t')) $$;
ALTER TABLE layouts DROP CONSTRAINT layouts_family_columns_key;
CREATE UNIQUE INDEX layouts_by_columns ON layouts (family, layout_digest(columns));

-- Versions that begin with the line's own time of update, and with whether its set is whole (see all_order_lines).
CREATE FUNCTION version_key(changed_at timestamptz, as_of timestamptz, report_id text, line integer) RETURNS text
    IMMUTABLE LANGUAGE sql AS $$
    SELECT to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '/'
        || version_key(as_of, report_id, line)
$$;
CREATE FUNCTION version_key(
    is_whole boolean, changed_at timestamptz, as_of timestamptz, report_id text, line integer
) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN is_whole THEN '1/' ELSE '0/' END || version_key(changed_at, as_of, report_id, line)
$$;

-- The set of a line that has no id, `SK-1#` of `SK-1#2`; NULL for a line with an id.
CREATE FUNCTION set_of(line_key text) RETURNS text IMMUTABLE LANGUAGE sql AS
    $$ SELECT substring(line_key from '^(.*#)[0-9]+$') $$;

-- Lines of the Unshipped family, each as the newest snapshot that lists it told it. What is missing from a newer one
-- stays here: `snapshots` and the view `orders` say that it waits no longer.
CREATE TABLE unshipped_lines (
    account                         text NOT NULL REFERENCES accounts,
    order_id                        text NOT NULL,
    order_item_id                   text NOT NULL,
    changed_at                      timestamptz NOT NULL,
    as_of                           timestamptz NOT NULL,
    report_id                       text NOT NULL,
    line                            integer NOT NULL,
    layout                          integer NOT NULL REFERENCES layouts,
    older_columns                   jsonb NOT NULL DEFAULT '{}',
    purchased_at                    timestamptz,
    paid_at                         timestamptz,
    reported_at                     timestamptz,
    promised_at                     timestamptz,
    days_past_promise               integer,
    sku                             text NOT NULL,
    product_name                    text,
    quantity                        integer NOT NULL,
    quantity_shipped                integer,
    quantity_to_ship                integer NOT NULL,
    ship_service_level              text,
    is_business_order               boolean,
    purchase_order_number           text,
    price_designation               text,
    is_prime                        boolean,
    sales_channel                   text,
    number_of_items                 integer,
    is_buyer_requested_cancellation boolean,
    is_replacement_order            boolean,
    is_exchange_order               boolean,
    gift_wrap_type                  text,
    payment_method                  text,
    cod_collectible_amount          numeric,
    already_paid                    numeric,
    payment_method_fee              numeric,
    extra                           jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (account, order_id, order_item_id)
) WITH (fillfactor = 90);

-- Lines of the All Orders family. `line_key` is Amazon's order-item-id, or sku#n where the report has none: such lines
-- form one set an (order, sku) with one version, whose `line` is where the set begins in its file. A set that lacks a
-- rejected row is not whole, and counts as older than any that is. What only an older set had stays here, and holds no
-- longer: see the view current_all_order_lines.
CREATE TABLE all_order_lines (
    account                         text NOT NULL REFERENCES accounts,
    order_id                        text NOT NULL,
    line_key                        text NOT NULL,
    is_whole                        boolean NOT NULL,
    changed_at                      timestamptz NOT NULL,
    as_of                           timestamptz NOT NULL,
    report_id                       text NOT NULL,
    line                            integer NOT NULL,
    layout                          integer NOT NULL REFERENCES layouts,
    older_columns                   jsonb NOT NULL DEFAULT '{}',
    -- Purged: its personal columns (ship_city, ship_postal_code) take values from no report again.
    purged_at                       timestamptz,
    purchased_at                    timestamptz NOT NULL,
    last_updated_at                 timestamptz,
    order_status                    text NOT NULL,
    sku                             text,
    asin                            text,
    quantity                        integer,
    currency                        text,
    item_price                      numeric,
    order_item_id                   text,
    merchant_order_id               text,
    fulfillment_channel             text,
    sales_channel                   text,
    order_channel                   text,
    ship_service_level              text,
    product_name                    text,
    item_status                     text,
    item_tax                        numeric,
    shipping_price                  numeric,
    shipping_tax                    numeric,
    gift_wrap_price                 numeric,
    gift_wrap_tax                   numeric,
    item_promotion_discount         numeric,
    ship_promotion_discount         numeric,
    ship_city                       text,
    ship_state                      text,
    ship_postal_code                text,
    ship_country                    text,
    promotion_ids                   text,
    is_business_order               boolean,
    purchase_order_number           text,
    price_designation               text,
    number_of_items                 integer,
    fulfilled_by                    text,
    payment_method                  text,
    is_buyer_requested_cancellation boolean,
    extra                           jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (account, order_id, line_key)
) WITH (fillfactor = 90);

-- Lines of the Pending family (Japan).
CREATE TABLE pending_lines (
    account       text NOT NULL REFERENCES accounts,
    order_id      text NOT NULL,
    order_item_id text NOT NULL,
    as_of         timestamptz NOT NULL,
    report_id     text NOT NULL,
    line          integer NOT NULL,
    layout        integer NOT NULL REFERENCES layouts,
    older_columns jsonb NOT NULL DEFAULT '{}',
    purchased_at  timestamptz,
    sku           text NOT NULL,
    product_name  text,
    quantity      integer NOT NULL,
    payment_type  text,
    extra         jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (account, order_id, order_item_id)
) WITH (fillfactor = 90);

-- Lines of the FBA shipments family: one row an item of a shipment.
CREATE TABLE fba_shipment_lines (
    account                 text NOT NULL REFERENCES accounts,
    shipment_item_id        text NOT NULL,
    as_of                   timestamptz NOT NULL,
    report_id               text NOT NULL,
    line                    integer NOT NULL,
    layout                  integer NOT NULL REFERENCES layouts,
    older_columns           jsonb NOT NULL DEFAULT '{}',
    shipment_id             text NOT NULL,
    order_id                text NOT NULL,
    order_item_id           text,
    merchant_order_id       text,
    merchant_order_item_id  text,
    purchased_at            timestamptz,
    paid_at                 timestamptz,
    shipped_at              timestamptz,
    reported_at             timestamptz,
    sku                     text NOT NULL,
    product_name            text,
    quantity                integer NOT NULL,
    currency                text,
    item_price              numeric,
    item_tax                numeric,
    shipping_price          numeric,
    shipping_tax            numeric,
    gift_wrap_price         numeric,
    gift_wrap_tax           numeric,
    item_promotion_discount numeric,
    ship_promotion_discount numeric,
    ship_service_level      text,
    carrier                 text,
    tracking_number         text,
    estimated_arrival_at    timestamptz,
    fulfillment_center_id   text,
    fulfillment_channel     text,
    sales_channel           text,
    extra                   jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (account, shipment_item_id)
) WITH (fillfactor = 90);
CREATE INDEX fba_shipment_lines_of_order ON fba_shipment_lines (account, order_id);

-- Every picture of what waits to be shipped, also an empty one. `scope`: the connection, the report type and the
-- marketplaces, as far as they are known; pictures of different scopes show different things. `report_id`: the report's,
-- or that of the request to which Amazon said "no data". `taken_at`: the earliest reporting-date of its lines, since no
-- line may seem missing from a picture that lists it; without lines, when the report was finished.
CREATE TABLE snapshots (
    account   text NOT NULL REFERENCES accounts,
    scope     text NOT NULL,
    as_of     timestamptz NOT NULL,
    report_id text NOT NULL CHECK (report_id ~ '^[0-9]{1,30}$'),
    taken_at  timestamptz NOT NULL,
    lines     integer NOT NULL,
    rejected  integer NOT NULL,
    PRIMARY KEY (account, scope, as_of, report_id)
);
CREATE INDEX snapshots_of_report ON snapshots (account, report_id);

-- The marketplaces that a report answers for, where Amazon says so (SP-API).
ALTER TABLE reports ADD COLUMN marketplaces text[] NOT NULL DEFAULT '{}';
