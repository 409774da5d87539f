"""The main story, played on a devnet of its own through the public API, with every printed claim checked."""
