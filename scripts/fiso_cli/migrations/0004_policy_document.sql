-- A policy is one document, in the shape of published snapshots: it is only ever read and written whole, its keys are
-- declared and checked by the code's own type, and a new key needs no migration. Every row of every version is kept.
-- Code from before this cannot read the table any more: deploy the functions first, then apply.

ALTER TABLE policies ADD COLUMN policy jsonb CHECK (jsonb_typeof(policy) = 'object');

UPDATE policies SET policy = jsonb_build_object('weights', jsonb_build_object(
        'latency', weight_latency, 'cost', weight_cost,
        'reliability', weight_reliability, 'region_affinity', weight_region_affinity))
    || (to_jsonb(policies) - ARRAY[
        'version', 'function_name', 'policy_version', 'policy',
        'weight_latency', 'weight_cost', 'weight_reliability', 'weight_region_affinity']);

ALTER TABLE policies
    ALTER COLUMN policy SET NOT NULL,
    DROP COLUMN weight_latency, DROP COLUMN weight_cost,
    DROP COLUMN weight_reliability, DROP COLUMN weight_region_affinity,
    DROP COLUMN scoring, DROP COLUMN objective, DROP COLUMN latency_objective_ms,
    DROP COLUMN allowed_providers, DROP COLUMN denied_providers,
    DROP COLUMN allowed_regions, DROP COLUMN denied_regions, DROP COLUMN residency,
    DROP COLUMN max_p95_ms, DROP COLUMN max_cost_usd, DROP COLUMN tiers, DROP COLUMN strategies,
    DROP COLUMN mode, DROP COLUMN home, DROP COLUMN pinned, DROP COLUMN idempotent,
    DROP COLUMN timeout_ms, DROP COLUMN max_attempts, DROP COLUMN exploration, DROP COLUMN hedging,
    DROP COLUMN control_share, DROP COLUMN control_block_s, DROP COLUMN cost_source;
