-- The catalog: every version keeps all of its rows, so history is a query and nothing is ever updated in place.
-- A policy's own version is the catalog version at which it last changed.

CREATE TABLE catalog_versions (
    version    bigint      PRIMARY KEY CHECK (version > 0),
    changed_at timestamptz NOT NULL DEFAULT now(),
    author     text        NOT NULL CHECK (author <> '')
);

CREATE TABLE functions (
    version       bigint NOT NULL REFERENCES catalog_versions,
    name          text   NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    function_type text   NOT NULL CHECK (function_type <> ''),
    PRIMARY KEY (version, name)
);

CREATE TABLE endpoints (
    version           bigint  NOT NULL,
    function_name     text    NOT NULL,
    position          integer NOT NULL CHECK (position >= 0),
    id                text    NOT NULL CHECK (id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    provider          text    NOT NULL CHECK (provider IN ('aws', 'azure', 'gcp')),
    region            text    NOT NULL CHECK (region <> ''),
    memory_mb         integer NOT NULL CHECK (memory_mb > 0),
    address           text    NOT NULL CHECK (address <> ''),
    path              text    NOT NULL,
    payload           text    NOT NULL CHECK (payload IN ('http', 'event')),
    authentication    text    NOT NULL CHECK (authentication IN ('none', 'iam', 'function_key', 'id_token')),
    secret_ref        text    CHECK (secret_ref <> ''),
    concurrency_limit integer NOT NULL CHECK (concurrency_limit > 0),
    PRIMARY KEY (version, function_name, id),
    UNIQUE (version, function_name, position),
    FOREIGN KEY (version, function_name) REFERENCES functions (version, name)
);

CREATE TABLE policies (
    version                bigint           NOT NULL,
    function_name          text             NOT NULL,
    policy_version         bigint           NOT NULL REFERENCES catalog_versions,
    weight_latency         double precision NOT NULL CHECK (weight_latency >= 0 AND weight_latency < 'Infinity'),
    weight_cost            double precision NOT NULL CHECK (weight_cost >= 0 AND weight_cost < 'Infinity'),
    weight_reliability     double precision NOT NULL CHECK (weight_reliability >= 0 AND weight_reliability < 'Infinity'),
    weight_region_affinity double precision NOT NULL
        CHECK (weight_region_affinity >= 0 AND weight_region_affinity < 'Infinity'),
    scoring                text             NOT NULL CHECK (scoring IN ('relative', 'reciprocal')),
    allowed_providers      text[]           NOT NULL CHECK (allowed_providers <@ ARRAY['aws', 'azure', 'gcp']),
    denied_providers       text[]           NOT NULL CHECK (denied_providers <@ ARRAY['aws', 'azure', 'gcp']),
    allowed_regions        text[]           NOT NULL CHECK (array_position(allowed_regions, NULL) IS NULL),
    denied_regions         text[]           NOT NULL CHECK (array_position(denied_regions, NULL) IS NULL),
    residency              text[]           NOT NULL CHECK (array_position(residency, NULL) IS NULL),
    mode                   text             NOT NULL CHECK (mode IN ('route', 'observe', 'pin')),
    home                   text,
    pinned                 text,
    idempotent             text             NOT NULL CHECK (idempotent IN ('no', 'yes', 'deduplicates_on_key')),
    timeout_ms             integer          NOT NULL CHECK (timeout_ms BETWEEN 100 AND 28000),
    max_attempts           integer          NOT NULL CHECK (max_attempts BETWEEN 1 AND 5),
    exploration            double precision NOT NULL CHECK (exploration BETWEEN 0 AND 0.5),
    cost_source            text             NOT NULL CHECK (cost_source IN ('tariff', 'model')),
    PRIMARY KEY (version, function_name),
    FOREIGN KEY (version, function_name) REFERENCES functions (version, name),
    FOREIGN KEY (version, function_name, home) REFERENCES endpoints (version, function_name, id),
    FOREIGN KEY (version, function_name, pinned) REFERENCES endpoints (version, function_name, id),
    CHECK (policy_version <= version),
    CHECK (weight_latency > 0 OR weight_cost > 0 OR weight_reliability > 0 OR weight_region_affinity > 0),
    CHECK (mode <> 'pin' OR pinned IS NOT NULL),
    CHECK (mode <> 'observe' OR home IS NOT NULL)
);
