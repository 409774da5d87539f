"""Lockstep: a self-hosted back end for DeFi products. Every leg moves, or none does."""

__version__ = "0.1.0"
