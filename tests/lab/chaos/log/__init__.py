"""What the experiments on the log share: a store that fails on demand, a world around it, a stream that misbehaves."""
