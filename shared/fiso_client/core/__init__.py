"""What the client and FISO's own router share, so that a leased call and a proxied one cannot differ.

Standard library only; `fiso` imports these modules one by one, and nothing else of the client.
"""
