"""A view in words: one English sentence, a tree of details, and warnings. Made from what would be signed, nothing else."""

from lockstep.custody.view.words.describe import describe
from lockstep.custody.view.words.types import ChainFact, Detail, TokenFact, WordFacts, Words

__all__ = ["ChainFact", "Detail", "TokenFact", "WordFacts", "Words", "describe"]
