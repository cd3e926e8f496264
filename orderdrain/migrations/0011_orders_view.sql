-- The lines of All Orders that hold: those with an id once their order has any, else the newest set an (order, sku).
CREATE VIEW current_all_order_lines AS
SELECT l.* FROM all_order_lines l WHERE l.order_item_id IS NOT NULL OR NOT EXISTS (
    SELECT FROM all_order_lines o WHERE o.account = l.account AND o.order_id = l.order_id
        AND (o.order_item_id IS NOT NULL OR set_of(o.line_key) = set_of(l.line_key)
            AND (o.is_whole, o.changed_at, o.as_of, o.report_id::numeric, o.line)
                > (l.is_whole, l.changed_at, l.as_of, l.report_id::numeric, l.line)));

-- The lines of Unshipped, and whether they wait still: true by the newest snapshot of their scope; false where a newer
-- one, all of whose rows could be read, lacks them, and goes back to their payment (38 days: MWS documentation); else
-- nobody knows, as of a line that no report tells any more (as_of -infinity: docs/adr/0020).
CREATE VIEW current_unshipped_lines AS
SELECT l.*, CASE
    WHEN l.as_of = '-infinity' THEN NULL
    WHEN newer.snapshots = 0 THEN true
    WHEN newer.without_it THEN false
END AS still_unshipped
FROM unshipped_lines l CROSS JOIN LATERAL (
    SELECT count(*) AS snapshots, bool_or(s.rejected = 0 AND l.paid_at >= s.taken_at - interval '38 days') AS without_it
    FROM snapshots s WHERE s.account = l.account
        AND s.scope = (SELECT min(own.scope) FROM snapshots own WHERE own.account = l.account
            AND own.report_id = l.report_id AND own.as_of = l.as_of)
        AND s.taken_at >= l.changed_at AND s.as_of >= l.as_of
        AND (s.as_of, s.report_id::numeric) > (l.as_of, l.report_id::numeric)
) AS newer;

-- What each family tells of a line, in the same columns. `number` stands for the id where there is none.
CREATE VIEW told_lines AS
SELECT 'new_orders' AS family, account, order_id, order_item_id, NULL::integer AS number, sku,
    as_of AS changed_at, as_of, report_id, NULL AS status, NULL::boolean AS still_unshipped, true AS tells_money,
    currency, item_price, item_tax, shipping_price, shipping_tax, gift_wrap_price, gift_wrap_tax,
    item_promotion_discount, ship_promotion_discount
FROM order_lines
UNION ALL
SELECT 'all_orders', account, order_id, order_item_id,
    CASE WHEN order_item_id IS NULL THEN substring(line_key from '[0-9]+$')::integer END, coalesce(sku, asin),
    changed_at, as_of, report_id, order_status, NULL, true,
    currency, item_price, item_tax, shipping_price, shipping_tax, gift_wrap_price, gift_wrap_tax,
    item_promotion_discount, ship_promotion_discount
FROM current_all_order_lines
UNION ALL
SELECT 'unshipped', account, order_id, order_item_id, NULL, sku, changed_at, as_of, report_id, 'Unshipped',
    still_unshipped, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM current_unshipped_lines
UNION ALL
SELECT 'pending', account, order_id, order_item_id, NULL, sku, as_of, as_of, report_id, 'Pending',
    NULL, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM pending_lines
UNION ALL
SELECT 'fba_shipments', account, order_id, order_item_id, CASE WHEN order_item_id IS NULL THEN 1 END, sku,
    as_of, as_of, report_id, 'Shipped', NULL, true,
    currency, item_price, item_tax, shipping_price, shipping_tax, gift_wrap_price, gift_wrap_tax,
    item_promotion_discount, ship_promotion_discount
FROM fba_shipment_lines;

-- One row an order. Each line counts once: known by its id, else it is the nth of its order and SKU. `totals` are by
-- currency and column, {"USD": {"item_price": 20.00, ...}}: whether a price includes its tax differs by marketplace, so
-- nothing is added up across columns. Totals and status are told by the family that has the newest version and knows
-- them, All Orders before the others. `still_unshipped` is NULL where nothing is known, and so for an account without
-- Unshipped reports.
CREATE VIEW orders AS
SELECT account, order_id, lines, totals, status, still_unshipped, families
FROM (
    SELECT account, order_id, count(DISTINCT (line_sku, nth))::integer AS lines,
        (array_agg(status ORDER BY changed_at DESC, as_of DESC, family = 'all_orders' DESC, report_id::numeric DESC,
            status) FILTER (WHERE status IS NOT NULL))[1] AS status,
        CASE
            WHEN bool_or(still_unshipped) THEN true
            WHEN count(still_unshipped) = nullif(count(*) FILTER (WHERE family = 'unshipped'), 0) THEN false
        END AS still_unshipped,
        array_agg(DISTINCT family ORDER BY family) AS families
    FROM (
        SELECT *, coalesce(number, dense_rank() OVER (
            PARTITION BY account, order_id, line_sku, number IS NULL ORDER BY order_item_id)) AS nth
        FROM (
            -- A line that has an id may have got another SKU, also within one report: it is still one line.
            SELECT *, CASE WHEN number IS NULL THEN first_value(sku) OVER (
                PARTITION BY account, order_id, order_item_id ORDER BY sku IS NULL, changed_at DESC, as_of DESC,
                    report_id::numeric DESC, family, sku) ELSE sku END AS line_sku
            FROM told_lines) AS named
    ) AS counted
    GROUP BY account, order_id
) AS known
LEFT JOIN (
    SELECT account, order_id, jsonb_object_agg(currency, sums) AS totals
    FROM (
        SELECT account, order_id, coalesce(currency, '') AS currency, jsonb_strip_nulls(jsonb_build_object(
            'item_price', sum(item_price), 'item_tax', sum(item_tax),
            'shipping_price', sum(shipping_price), 'shipping_tax', sum(shipping_tax),
            'gift_wrap_price', sum(gift_wrap_price), 'gift_wrap_tax', sum(gift_wrap_tax),
            'item_promotion_discount', sum(item_promotion_discount),
            'ship_promotion_discount', sum(ship_promotion_discount))) AS sums
        FROM (
            SELECT *, first_value(family) OVER (PARTITION BY account, order_id ORDER BY changed_at DESC, as_of DESC,
                family = 'all_orders' DESC, report_id::numeric DESC, family) AS newest
            FROM told_lines WHERE tells_money) AS money
        WHERE family = newest GROUP BY account, order_id, coalesce(currency, '')
    ) AS by_currency
    WHERE sums <> '{}' GROUP BY account, order_id
) AS money USING (account, order_id);
