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
