"""Networks that are torch modules and nothing more: no text, no labels' names, no files."""
