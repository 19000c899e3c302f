-- What is left of rows that were removed because they were old enough. From then on `settings` has `rows_from`: the day
-- (its beginning, a time as in 0001) before which rows may be missing.

-- What the removed rows had spent, failed attempts included, for the budgets of accounts that outlive them. `account` is
-- a `key_id`, empty for none. `start` is the beginning of the month to which they were charged, or of the process that
-- removed them where they were charged later than that: seconds since the epoch. The sums are those of budgets: of rows
-- with a cost in satoshis (millionths) and in dollars (thousand millionths), and of rows with a cost in one of them only.
CREATE TABLE removed_spend (
    account   TEXT NOT NULL,
    start     REAL NOT NULL,
    sats      INTEGER NOT NULL,
    usd       INTEGER NOT NULL,
    sats_only INTEGER NOT NULL,
    usd_only  INTEGER NOT NULL,
    PRIMARY KEY (account, start)
) WITHOUT ROWID;
