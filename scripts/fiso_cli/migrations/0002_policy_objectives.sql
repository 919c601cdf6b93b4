-- What else an operator can ask for. The defaults are the behaviour before these columns, so that rows of earlier
-- versions mean what they meant and an earlier writer can still write.
-- Tiers and strategies are documents in the shape of fiso.yaml: they are only ever read whole, with their policy.

ALTER TABLE policies
    ADD COLUMN objective            text             NOT NULL DEFAULT 'weighted'
        CHECK (objective IN ('weighted', 'cheapest_within')),
    ADD COLUMN latency_objective_ms double precision
        CHECK (latency_objective_ms > 0 AND latency_objective_ms < 'Infinity'),
    ADD COLUMN max_p95_ms           double precision CHECK (max_p95_ms > 0 AND max_p95_ms < 'Infinity'),
    ADD COLUMN max_cost_usd         double precision CHECK (max_cost_usd > 0 AND max_cost_usd < 'Infinity'),
    ADD COLUMN control_share        double precision NOT NULL DEFAULT 0 CHECK (control_share BETWEEN 0 AND 0.5),
    ADD COLUMN control_block_s      integer          NOT NULL DEFAULT 3600
        CHECK (control_block_s BETWEEN 60 AND 604800),
    ADD COLUMN tiers                jsonb            NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(tiers) = 'array'),
    ADD COLUMN strategies           jsonb            NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(strategies) = 'array'),
    ADD CHECK (objective <> 'cheapest_within' OR latency_objective_ms IS NOT NULL),
    ADD CHECK (control_share = 0 OR home IS NOT NULL);
