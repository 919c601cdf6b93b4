"""Google cloud: the management APIs that FISO speaks to, on loopback, and the copies that are deployed through them.

Not an emulator of Google's: it knows the methods in `handlers`, routes and checks each request and each answer by
Google's own discovery documents, and runs what is deployed under the vendor's functions framework. An API is below its
host's name: `http://127.0.0.1:PORT/run.googleapis.com/v2/projects/…`.
"""
