"""All SQL of the engine: rows and their timeline, attempts, nonces and what was signed for them."""
