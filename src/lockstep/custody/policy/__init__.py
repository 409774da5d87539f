"""The policy engine: documents are type-checked when written, compiled once per revision, and evaluated without I/O.

Decides about a view and nothing else; loading, sealing and attaching policies is the service's.
"""

from lockstep.custody.policy.compile import CompiledPolicy, compile_policy, load_policy, references_of
from lockstep.custody.policy.errors import PolicyInvalid
from lockstep.custody.policy.rules import evaluate, questions
from lockstep.custody.policy.schema import parse_policy
from lockstep.custody.policy.sets import NO_MEMBERS, Members, SetType, check_sets, set_ids
from lockstep.custody.policy.types import (
    Action,
    Condition,
    Operator,
    Outcome,
    Policy,
    Reading,
    ReasonCode,
    Rule,
    SystemFacts,
    Verdict,
)

__all__ = [
    "NO_MEMBERS",
    "Action",
    "CompiledPolicy",
    "Condition",
    "Members",
    "Operator",
    "Outcome",
    "Policy",
    "PolicyInvalid",
    "Reading",
    "ReasonCode",
    "Rule",
    "SetType",
    "SystemFacts",
    "Verdict",
    "check_sets",
    "compile_policy",
    "evaluate",
    "load_policy",
    "parse_policy",
    "questions",
    "references_of",
    "set_ids",
]
