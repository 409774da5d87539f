"""Readers of what `rpc` hands on: one file per family of methods, and the reader of JSON members that they share."""
