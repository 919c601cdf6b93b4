"""Azure's management plane on this machine: Resource Manager's wire form, and what it makes, in memory and on disk.

It knows the resources that FISO deploys and no others. What a template declares is held against the vendor's own
types where these are at hand (`FISO_AZURE_TYPES`, a folder of Azure/bicep-types-az); what is deployed runs under
`azure_host`.
"""
