"""AWS: a user's functions on Lambda, by Lambda's own API. FISO itself is CloudFormation's (serverless.yml)."""
