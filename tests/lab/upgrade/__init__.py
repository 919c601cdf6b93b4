"""A stage of an earlier commit, updated in place under traffic."""
