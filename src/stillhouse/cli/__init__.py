"""The command line: one file a noun; none holds logic, they call the same verbs as the server does."""
