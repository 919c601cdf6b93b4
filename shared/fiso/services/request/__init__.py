"""One request: decide, dispatch, record, answer."""
