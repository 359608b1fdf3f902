"""Runs: long work in processes of its own, and who starts, watches and finishes them. Another executor is another file here."""
