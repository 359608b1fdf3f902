"""What `benchmarks/reasoning.py` is made of."""
