"""EVM chains behind the engine's interface: nonces, gas and fees, replacement by dearer forms, receipts."""
