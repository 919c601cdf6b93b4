"""Diagnosis: from the newest records and the folded states, whose fault trouble is, how sure that is, what to do."""
