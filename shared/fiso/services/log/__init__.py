"""The log of invocations: written, folded, reconciled."""
