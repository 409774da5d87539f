"""Approvals: requests about what belongs to keys or quorums that collect signatures over time, and are carried out once.

    pending ─enough authorised─► processing ─► executed | failed
       └─► expired | rejected

What is signed is a payload that names the approval and the very request. Who owns the thing, which keys are active and
what the policies say is looked at again when it is carried out, and the signatures are verified again then.
"""
