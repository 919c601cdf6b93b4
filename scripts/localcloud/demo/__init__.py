"""The demo: the whole path on this machine, from an empty checkout to a promoted model, with every claim checked."""
