-- The share of requests that may be hedged. The default holds for rows of earlier versions too: it only ever concerns
-- functions that are declared repeatable.

ALTER TABLE policies
    ADD COLUMN hedging double precision NOT NULL DEFAULT 0.05 CHECK (hedging BETWEEN 0 AND 0.2);
