-- What a catalog says of its stage as a whole: quotas of tenants, hosts of one's own. NULL is what the newest version before
-- says that says anything, so that thousands of tenants are not written again with every version.

ALTER TABLE catalog_versions ADD COLUMN rules jsonb CHECK (jsonb_typeof(rules) = 'object');
