-- Who may do what: whoever migrates owns the tables and writes; fiso_reader reads them and nothing else. The keeper's own
-- role is a member of it (`fiso keeper-database`). Nobody else may make tables here, whose names functions would look up.
-- Whoever migrates may lack the right to make roles: then `fiso keeper-database`, run by somebody who has it, does it.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fiso_reader') THEN
        CREATE ROLE fiso_reader NOLOGIN;
    END IF;
    GRANT SELECT ON catalog_versions, functions, endpoints, policies TO fiso_reader;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
EXCEPTION
    WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
        RAISE NOTICE 'fiso_reader has no rights yet: run `fiso keeper-database`';
END
$$;
