"""What benchmarks that teach students share: progress, results, tokenizers; and the parts of `encoders.py`."""
