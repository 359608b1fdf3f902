"""What the benchmarks of ways of teaching, `encoders.py` and `decoders.py`, are made of."""
