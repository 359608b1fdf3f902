"""Where everything is kept: one protocol (`base.py`), one SQL implementation, two dialects."""
