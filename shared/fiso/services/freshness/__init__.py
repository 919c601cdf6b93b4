"""Values read from stores, and how old they may be."""
