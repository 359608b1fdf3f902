"""The teacher's side of a run, by where its signal comes from."""
