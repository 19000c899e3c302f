-- What statistics are made of. Times and money as in 0001.

-- `tier` is that of the provider that served, `error_code` what the caller was told, `decision` why the request went
-- where it went (JSON), `baseline_…` what the same usage would have cost at the decision's baseline.
ALTER TABLE requests ADD COLUMN tier TEXT;
ALTER TABLE requests ADD COLUMN error_code TEXT;
ALTER TABLE requests ADD COLUMN baseline_sats REAL;
ALTER TABLE requests ADD COLUMN baseline_usd REAL;
ALTER TABLE requests ADD COLUMN decision TEXT;
ALTER TABLE requests ADD COLUMN
    baseline_micro_sats INTEGER GENERATED ALWAYS AS (CAST(round(baseline_sats * 1000000) AS INTEGER)) VIRTUAL;
ALTER TABLE requests ADD COLUMN
    baseline_nano_usd INTEGER GENERATED ALWAYS AS (CAST(round(baseline_usd * 1000000000) AS INTEGER)) VIRTUAL;

-- By time, and by cost or duration within a time without a look at each row; and those of a status.
DROP INDEX requests_timestamp;
CREATE INDEX requests_timestamp ON requests (timestamp, cost_micro_sats, latency_ms);
CREATE INDEX requests_failed ON requests (error_status, timestamp) WHERE error_status IS NOT NULL;

-- Figures of requests, added up by hour and by day. `slices` says of which requests: `facet` 0 is all of them, 1 to 5
-- those alike in one column (model, provider, policy, key_id, tier), 6 those alike in all columns here. A column that
-- the facet does not speak of is NULL.
CREATE TABLE slices (
    id        INTEGER PRIMARY KEY,
    facet     INTEGER NOT NULL,
    model     TEXT,
    provider  TEXT,
    policy    TEXT,
    key_id    TEXT,
    tier      TEXT,
    streaming INTEGER,
    success   INTEGER
);

CREATE INDEX slices_facet ON slices (facet, model, key_id, provider);

-- `span` is 1 (an hour) or 24 (a day), `start` its first hour, counted from 1970 in UTC. Money is in millionths of a
-- satoshi and thousand millionths of a dollar, times are in microseconds. `baseline_…` and `compared` are those of
-- requests whose cost is known; a request without a baseline counts as what it cost. `timed_…` are output tokens and
-- duration of successes that had output. `latency` and `ttft` are sketches (MessagePack: how many are 0, then distance
-- and count of each bucket of a DDSketch of 1 %), `errors` counts error codes (JSON).
CREATE TABLE rollups (
    facet                    INTEGER NOT NULL,
    span                     INTEGER NOT NULL,
    start                    INTEGER NOT NULL,
    slice                    INTEGER NOT NULL,
    requests                 INTEGER NOT NULL,
    successes                INTEGER NOT NULL,
    streamed                 INTEGER NOT NULL,
    estimated                INTEGER NOT NULL,
    unpriced                 INTEGER NOT NULL,
    cost_micro_sats          INTEGER NOT NULL,
    cost_nano_usd            INTEGER NOT NULL,
    failed_cost_micro_sats   INTEGER NOT NULL,
    failed_cost_nano_usd     INTEGER NOT NULL,
    provider_cost_micro_sats INTEGER NOT NULL,
    baseline_micro_sats      INTEGER NOT NULL,
    baseline_nano_usd        INTEGER NOT NULL,
    compared                 INTEGER NOT NULL,
    input_tokens             INTEGER NOT NULL,
    output_tokens            INTEGER NOT NULL,
    cached_input_tokens      INTEGER NOT NULL,
    cache_write_tokens       INTEGER NOT NULL,
    reasoning_tokens         INTEGER NOT NULL,
    latency_us               INTEGER NOT NULL,
    ttft_us                  INTEGER NOT NULL,
    timed_tokens             INTEGER NOT NULL,
    timed_us                 INTEGER NOT NULL,
    cost_min                 INTEGER,
    latency_min              INTEGER,
    cost_max                 INTEGER,
    latency_max              INTEGER,
    latency                  BLOB NOT NULL,
    ttft                     BLOB NOT NULL,
    errors                   TEXT,
    PRIMARY KEY (facet, span, start, slice)
) WITHOUT ROWID;

-- `rolled_up`: roll-ups hold the rows up to this id, and they and it change in one transaction. Of these, rows up to the
-- id `counted` that are from before the time `counted_before` were part of them when they were made anew: such rows may
-- have been removed.
INSERT INTO settings (name, value) VALUES ('rolled_up', 0), ('counted', 0), ('counted_before', '');
