"""Provider proxy: stands before each provider's local host and adds distance, cold starts and faults, all labelled.

Only the traffic of sample functions passes here. What is added is emulated from published figures and says so in the
response header `x-fiso-emulated`; it is never part of FISO's own time.
"""
