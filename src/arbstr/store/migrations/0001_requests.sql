-- The request log: one row in `requests` for each client request, one in `attempts` for each upstream try.
-- Times are RFC 3339 in UTC with six decimals and a Z, so that they sort as text. Booleans are 0 and 1.
-- Costs are satoshis with at most six decimals, NULL if unknown. The nearest REAL to such a number gives it back
-- exactly when rounded, so `cost_micro_sats` is the exact integer and its SUM is exact; it takes no space.

CREATE TABLE requests (
    id                       INTEGER PRIMARY KEY,
    correlation_id           TEXT NOT NULL UNIQUE,
    timestamp                TEXT NOT NULL,
    endpoint                 TEXT NOT NULL,
    model                    TEXT,
    provider                 TEXT,
    upstream_model           TEXT,
    policy                   TEXT,
    key_id                   TEXT,
    streaming                INTEGER NOT NULL,
    input_tokens             INTEGER,
    output_tokens            INTEGER,
    cached_input_tokens      INTEGER,
    reasoning_tokens         INTEGER,
    cost_sats                REAL,
    cost_usd                 REAL,
    provider_cost_sats       REAL,
    cost_source              TEXT NOT NULL,
    latency_ms               REAL NOT NULL,
    ttft_ms                  REAL,
    stream_duration_ms       REAL,
    success                  INTEGER NOT NULL,
    stream_status            TEXT,
    error_status             INTEGER,
    error_message            TEXT,
    malformed_events         INTEGER NOT NULL DEFAULT 0,
    cost_micro_sats          INTEGER GENERATED ALWAYS AS (CAST(round(cost_sats * 1000000) AS INTEGER)) VIRTUAL,
    provider_cost_micro_sats INTEGER GENERATED ALWAYS AS (CAST(round(provider_cost_sats * 1000000) AS INTEGER)) VIRTUAL
);

CREATE INDEX requests_timestamp ON requests (timestamp);

-- `request_id` is the `correlation_id` of the request, `ordinal` counts its attempts from 0.
CREATE TABLE attempts (
    request_id      TEXT NOT NULL,
    ordinal         INTEGER NOT NULL,
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    started_at      TEXT NOT NULL,
    duration_ms     REAL NOT NULL,
    status          INTEGER,
    error           TEXT,
    cost_sats       REAL,
    cost_micro_sats INTEGER GENERATED ALWAYS AS (CAST(round(cost_sats * 1000000) AS INTEGER)) VIRTUAL,
    PRIMARY KEY (request_id, ordinal)
) WITHOUT ROWID;
