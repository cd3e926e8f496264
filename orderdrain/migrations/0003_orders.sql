-- Order tables. A row's version is (as_of, report_id, line): when the report was finished at Amazon, its id compared as
-- a number, the line in the file. The newest wins, column by column where layouts differ.

-- A version as text that sorts as the version does (COLLATE "C"), for the maps below.
CREATE FUNCTION version_key(as_of timestamptz, report_id text, line integer) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT to_char(as_of AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '/' || lpad(report_id, 30, '0')
        || '/' || lpad(line::text, 10, '0')
$$;

-- The sets of columns that reports had. A column that is not in a row's layout was not told by its newest report.
CREATE TABLE layouts (
    layout  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    family  text NOT NULL,
    columns text[] NOT NULL,
    UNIQUE (family, columns)
);

-- Lines of the New Orders family: one row a line, key (account, order_id, order_item_id).
CREATE TABLE order_lines (
    account                         text NOT NULL REFERENCES accounts,
    order_id                        text NOT NULL,
    order_item_id                   text NOT NULL,
    as_of                           timestamptz NOT NULL,
    report_id                       text NOT NULL,
    line                            integer NOT NULL,
    layout                          integer NOT NULL REFERENCES layouts,
    -- Columns that the newest report did not tell, but an older one did: name -> version_key of the report that did.
    older_columns                   jsonb NOT NULL DEFAULT '{}',
    purchased_at                    timestamptz,
    paid_at                         timestamptz,
    sku                             text NOT NULL,
    product_name                    text,
    quantity                        integer NOT NULL,
    currency                        text,
    item_price                      numeric,
    item_tax                        numeric,
    shipping_price                  numeric,
    shipping_tax                    numeric,
    ship_service_level              text,
    sales_channel                   text,
    order_channel                   text,
    number_of_items                 integer,
    earliest_ship_at                timestamptz,
    latest_ship_at                  timestamptz,
    earliest_delivery_at            timestamptz,
    latest_delivery_at              timestamptz,
    is_business_order               boolean,
    purchase_order_number           text,
    price_designation               text,
    is_prime                        boolean,
    item_promotion_discount         numeric,
    item_promotion_id               text,
    ship_promotion_discount         numeric,
    ship_promotion_id               text,
    gift_wrap_price                 numeric,
    gift_wrap_tax                   numeric,
    gift_wrap_type                  text,
    payment_method                  text,
    cod_collectible_amount          numeric,
    already_paid                    numeric,
    payment_method_fee              numeric,
    fulfilled_by                    text,
    shipment_status                 text,
    is_buyer_requested_cancellation boolean,
    -- Columns of Amazon's without one of their own, by header name.
    extra                           jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (account, order_id, order_item_id)
) WITH (fillfactor = 90);

-- Personal columns of a line, in groups: a group with any value replaces the whole group, a blank one says nothing.
CREATE TABLE buyers (
    account                         text NOT NULL REFERENCES accounts,
    family                          text NOT NULL,
    order_id                        text NOT NULL,
    line_key                        text NOT NULL,
    -- group -> version_key of the line that told it.
    versions                        jsonb NOT NULL,
    -- Purged: it takes personal data from no report again.
    purged_at                       timestamptz,
    -- contact
    buyer_email                     text,
    buyer_name                      text,
    buyer_phone                     text,
    buyer_company_name              text,
    -- ship address
    recipient_name                  text,
    ship_address_1                  text,
    ship_address_2                  text,
    ship_address_3                  text,
    ship_city                       text,
    ship_state                      text,
    ship_postal_code                text,
    ship_country                    text,
    ship_phone                      text,
    delivery_instructions           text,
    ship_county                     text,
    -- tax
    buyer_identification_number     text,
    buyer_identification_type       text,
    cpf                             text,
    buyer_cst_number                text,
    buyer_vat_number                text,
    buyer_tax_registration_id       text,
    buyer_tax_registration_country  text,
    buyer_tax_registration_type     text,
    tax_location_code               text,
    tax_location_city               text,
    tax_location_county             text,
    tax_location_state              text,
    -- gift
    gift_message_text               text,
    customized_url                  text,
    customized_page                 text,
    -- bill address
    bill_address_1                  text,
    bill_address_2                  text,
    bill_address_3                  text,
    bill_city                       text,
    bill_state                      text,
    bill_postal_code                text,
    bill_country                    text,
    -- Columns that nobody has looked at yet, by header name: personal until declared otherwise.
    extra                           jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (account, family, order_id, line_key)
) WITH (fillfactor = 90);

-- Rows of a report that could not be stored: where and why, never what they held.
CREATE TABLE rejected_rows (
    account       text NOT NULL,
    api           text NOT NULL,
    report_id     text NOT NULL,
    line          integer NOT NULL,
    "column"      text,
    reason        text NOT NULL,
    order_id      text,
    order_item_id text,
    rejected_at   timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (account, api, report_id, line),
    FOREIGN KEY (account, api, report_id) REFERENCES reports
);
