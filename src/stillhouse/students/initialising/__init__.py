"""Starting a student from its teacher: which layers, columns and tokens are kept, and what takes the place of the rest."""
