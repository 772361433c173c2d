"""What is kept: the database, the event log, and one file a noun. Imports nothing of the other rooms."""
