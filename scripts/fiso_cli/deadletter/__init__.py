"""Dead letters: batches that the stream gave up, as S3 keeps them, read again, explained and replayed."""
