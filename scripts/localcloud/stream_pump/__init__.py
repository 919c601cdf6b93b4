"""Stream pump: delivers DynamoDB streams to functions of the local cloud under AWS's rules for event source mappings.

The emulator's own event source drops failed records, so mappings are deployed disabled and this process delivers them.
It speaks to the emulator and the Lambda host only through AWS's APIs and imports nothing of `fiso`.
"""
