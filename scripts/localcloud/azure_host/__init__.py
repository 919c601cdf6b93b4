"""Azure host: serves a function app over HTTP through the vendor's SDK, `azure.functions`, behind a host of ours.

It is not Microsoft's Functions host: it knows HTTP triggers of the Python v2 programming model and nothing else, checks
no function keys, and scales to one process. Where `func` is installed, Microsoft's host is started instead of this one.
"""
