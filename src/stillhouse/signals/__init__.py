"""The teacher cache on disk: what a teacher said about each example, written once, read by every run. numpy only, no torch."""
