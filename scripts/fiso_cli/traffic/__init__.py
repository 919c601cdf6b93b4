"""Traffic: the commands that send requests through a stage and show what came of them."""
