"""The checks, in the order in which they are told."""

from fiso_cli.doctor import account, azure, database, functions, google, keys, permissions, rounds, stores, targets
from fiso_cli.doctor.run import Check, Needs, of_cloud

CHECKS = (
    Check(name="identity", look=account.identity, needs=Needs.NOTHING),
    Check(name="stack", look=account.stack, needs=Needs.ACCOUNT),
    Check(name="clock", look=account.clock, needs=Needs.ACCOUNT),
    Check(name="deployer", look=permissions.deployer, needs=Needs.ACCOUNT, on_local=False),
    Check(name="roles", look=permissions.roles, on_local=False),
    Check(name="quotas", look=account.quotas, on_local=False),
    Check(name="settings", look=functions.settings),
    Check(name="versions", look=functions.versions),
    Check(name="layers", look=functions.layers),
    Check(name="tables", look=stores.tables),
    Check(name="stream", look=functions.stream),
    Check(name="bucket", look=stores.bucket),
    Check(name="secret", look=database.secret, on_local=False),
    Check(name="database", look=database.schema, needs=Needs.NOTHING),
    Check(name="signing", look=keys.signing, on_local=False),
    Check(name="keys", look=keys.stored),
    Check(name="gateway", look=keys.gateway, on_local=False),
    Check(name="catalog", look=targets.catalog),
    Check(name="targets", look=targets.targets),
    Check(name="prices", look=targets.prices, needs=Needs.NOTHING),
    Check(name="alarms", look=rounds.alarms),
    Check(name="schedules", look=rounds.schedules),
    Check(name="keeper", look=rounds.keeper, on_local=False),
    Check(name="retrainer", look=rounds.retrainer),
    Check(name="api", look=functions.api),
    *of_cloud(
        azure.CLOUD,
        ("identity", azure.identity),
        ("clock", azure.clock),
        ("rights", azure.rights),
        ("providers", azure.providers),
        ("regions", azure.regions),
        ("quota", azure.quota),
        ("apps", azure.apps),
        ("trust", azure.trust),
        ("reach", azure.reach),
    ),
    *of_cloud(
        google.CLOUD,
        ("identity", google.identity),
        ("clock", google.clock),
        ("rights", google.rights),
        ("apis", google.enabled),
        ("regions", google.regions),
        ("services", google.services),
        ("trust", google.trust),
        ("reach", google.reach),
    ),
)
NAMES = tuple(check.name for check in CHECKS)
"""What `--only` takes."""
