"""Starting a student from its teacher: which layers, which columns, which tokens are kept, and what takes the place of the rest."""
