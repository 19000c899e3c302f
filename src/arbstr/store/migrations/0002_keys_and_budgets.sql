-- Who may use the gateway, and what was spent in whose name. Times as in 0001, unless a column says otherwise.

-- Gateway keys. Of the secret there is only its SHA-256. A revoked key keeps its row: its requests name it, and the
-- gateway stays closed. `models` is a JSON list of names and patterns, NULL for all. Budgets are in millionths of a
-- satoshi or thousand millionths of a dollar, as `budget_currency` says ('sats' or 'usd'; NULL if there are none).
-- After a rotation `previous_hash` is good too, until `previous_until`.
CREATE TABLE keys (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    hash            BLOB NOT NULL UNIQUE,
    models          TEXT,
    policy          TEXT,
    budget_currency TEXT,
    budget_hour     INTEGER,
    budget_day      INTEGER,
    budget_month    INTEGER,
    budget_total    INTEGER,
    rpm             INTEGER,
    tpm             INTEGER,
    max_parallel    INTEGER,
    created_at      TEXT NOT NULL,
    expires_at      TEXT,
    revoked_at      TEXT,
    previous_hash   BLOB,
    previous_until  TEXT
);

CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked_at IS NULL;

-- What the program itself has to remember, by name.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

-- Goes up with every change of `keys`, whoever makes it: by it a running gateway sees that it has to look again.
INSERT INTO settings (name, value) VALUES ('keys_generation', 0);

CREATE TRIGGER keys_inserted AFTER INSERT ON keys BEGIN
    UPDATE settings SET value = value + 1 WHERE name = 'keys_generation';
END;

CREATE TRIGGER keys_updated AFTER UPDATE ON keys BEGIN
    UPDATE settings SET value = value + 1 WHERE name = 'keys_generation';
END;

CREATE TRIGGER keys_deleted AFTER DELETE ON keys BEGIN
    UPDATE settings SET value = value + 1 WHERE name = 'keys_generation';
END;

-- What an account may have spent in a window at most, as of its last lease: `leased`, in the units of
-- `keys`. `period` is 'hour', 'day', 'month' or 'total'; `start` is when the window began, in seconds since the epoch.
CREATE TABLE leases (
    account  TEXT NOT NULL,
    period   TEXT NOT NULL,
    start    INTEGER NOT NULL,
    currency TEXT NOT NULL,
    leased   INTEGER NOT NULL,
    PRIMARY KEY (account, period, start, currency)
) WITHOUT ROWID;

-- `price_source` is where the rates came from, `sats_per_usd` the exchange rate that was used, `charged_at` the moment
-- whose budget windows bear the cost, `failed_cost_…` what attempts cost that did not serve the answer.
ALTER TABLE requests ADD COLUMN key_name TEXT;
ALTER TABLE requests ADD COLUMN cache_write_tokens INTEGER;
ALTER TABLE requests ADD COLUMN sats_per_usd REAL;
ALTER TABLE requests ADD COLUMN price_source TEXT;
ALTER TABLE requests ADD COLUMN charged_at TEXT;
ALTER TABLE requests ADD COLUMN failed_cost_sats REAL;
ALTER TABLE requests ADD COLUMN failed_cost_usd REAL;
ALTER TABLE requests ADD COLUMN
    cost_nano_usd INTEGER GENERATED ALWAYS AS (CAST(round(cost_usd * 1000000000) AS INTEGER)) VIRTUAL;
ALTER TABLE requests ADD COLUMN
    failed_cost_micro_sats INTEGER GENERATED ALWAYS AS (CAST(round(failed_cost_sats * 1000000) AS INTEGER)) VIRTUAL;
ALTER TABLE requests ADD COLUMN
    failed_cost_nano_usd INTEGER GENERATED ALWAYS AS (CAST(round(failed_cost_usd * 1000000000) AS INTEGER)) VIRTUAL;

CREATE INDEX requests_key ON requests (key_id, timestamp) WHERE key_id IS NOT NULL;

ALTER TABLE attempts ADD COLUMN cost_usd REAL;
ALTER TABLE attempts ADD COLUMN
    cost_nano_usd INTEGER GENERATED ALWAYS AS (CAST(round(cost_usd * 1000000000) AS INTEGER)) VIRTUAL;
