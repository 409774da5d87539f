"""From a request to a signature: decisions, previews, batches. `pipeline` is the one road; see there."""
