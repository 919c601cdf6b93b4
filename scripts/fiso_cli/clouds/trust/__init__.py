"""Trusts: what makes another cloud believe AWS's word on who FISO is. Planned and applied by `clouds.plan`.

rest              a cloud's management API: one request, one line for a refusal
federation        AWS lets its word out of the account
entra             Entra believes it, for Azure (docs/decisions/0029)
workload_identity Google believes it (docs/decisions/0016)
"""
