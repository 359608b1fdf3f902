"""The files of Ho et al. 2023 (reasoning-teacher): datasets, completions, fine-tuning data, splits, model metadata."""
