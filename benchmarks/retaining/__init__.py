"""What `benchmarks/retention.py` is made of."""
