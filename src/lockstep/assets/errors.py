"""What can be wrong with an asset.

LockstepError
└── Refuse
    ├── BadAsset      422  not a CAIP-19 name that we read
    └── UnknownAsset  422  a token that is not registered here
"""

from lockstep.kit.errors import Unprocessable


class BadAsset(Unprocessable):
    """This is not the name of an asset."""

    code = "bad_asset"


class UnknownAsset(Unprocessable):
    """This asset is not registered here."""

    code = "unknown_asset"
