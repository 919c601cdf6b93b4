"""Retraining runs and drift reports as plain documents and back: in the bucket, the console's API, the retrainer's
answer."""

from datetime import datetime

from fiso.codecs.record import instant, parse_instant
from fiso.codecs.typed import Codec, Form

RUNS = Codec(forms={datetime: Form(instant, parse_instant)})
