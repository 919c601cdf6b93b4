"""Google: Cloud Run functions by the Cloud Run Admin API and its builds, through Google's own client library."""
