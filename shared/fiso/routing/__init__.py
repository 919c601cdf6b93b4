"""Pure decisions about requests: eligibility, scoring, selection, breaker, averages. Data in, data out."""
