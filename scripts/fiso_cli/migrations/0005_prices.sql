-- What a copy's price depends on beside its region and memory, and the operator's own terms. NULL is what the provider
-- does by default, and its list prices: rows from before mean what they meant.

ALTER TABLE endpoints
    ADD COLUMN plan         text CHECK (plan <> ''),
    ADD COLUMN architecture text CHECK (architecture <> ''),
    ADD COLUMN vcpu         double precision CHECK (vcpu > 0);

ALTER TABLE functions ADD COLUMN prices jsonb CHECK (jsonb_typeof(prices) = 'object');
