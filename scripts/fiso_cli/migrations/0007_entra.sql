-- Azure's endpoints may ask for an access token of Entra.
ALTER TABLE endpoints DROP CONSTRAINT endpoints_authentication_check;
ALTER TABLE endpoints ADD CONSTRAINT endpoints_authentication_check
    CHECK (authentication IN ('none', 'iam', 'function_key', 'id_token', 'entra'));
