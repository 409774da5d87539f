"""Why the book refuses. Each fault of an order has a code of its own; nothing is stored then.

Refuse
├── NotFound 404      OrderNotFound
├── Forbidden 403     NotTheMaker, NotTheTaker
├── Conflict 409      OrderSignatureConflict, HashlockUsed, NonceUsed, OrderNotOpen, OrderNotFillable, AuctionNotStarted
└── Unprocessable 422
    ├── FactoryUnknown, OrderAmountInvalid, PriceCurveInvalid, OrderTimesInvalid, OrderExpired
    ├── OrderSignatureInvalid, HashlockInvalid, ExtensionUnsupported, DestinationInvalid, MakerInvalid
    ├── AllowedTakersInvalid, DepositTooLow, PermitInvalid
    └── FillInvalid, TakerNotAllowed, TakerFundsLow
"""

from lockstep.kit.errors import Conflict, Forbidden, NotFound, Unprocessable


class OrderNotFound(NotFound):
    """There is no such order."""

    code = "order_not_found"


class NotTheMaker(Forbidden):
    """Only the maker of the order may do this."""

    code = "not_the_maker"


class NotTheTaker(Forbidden):
    """Only the taker may do this."""

    code = "not_the_taker"


class OrderSignatureConflict(Conflict):
    """The order is in the book with another signature."""

    code = "order_signature_conflict"


class HashlockUsed(Conflict):
    """The maker has used this hashlock before."""

    code = "hashlock_used"


class NonceUsed(Conflict):
    """The maker has used this nonce before."""

    code = "nonce_used"


class OrderNotOpen(Conflict):
    """The order cannot be taken or cancelled any more."""

    code = "order_not_open"


class OrderNotFillable(Conflict):
    """The order could not be filled now: the maker's balance, allowance or nonce does not allow it."""

    code = "order_not_fillable"


class AuctionNotStarted(Conflict):
    """The auction has not started."""

    code = "auction_not_started"


class FactoryUnknown(Unprocessable):
    """The order names a factory that is not ours."""

    code = "factory_unknown"


class OrderAmountInvalid(Unprocessable):
    """An amount of the order does not hold."""

    code = "order_amount_invalid"


class PriceCurveInvalid(Unprocessable):
    """The price curve does not hold."""

    code = "price_curve_invalid"


class OrderTimesInvalid(Unprocessable):
    """The times of the order are out of order or too far away."""

    code = "order_times_invalid"


class OrderExpired(Unprocessable):
    """The order has expired by the time of its chain."""

    code = "order_expired"


class OrderSignatureInvalid(Unprocessable):
    """The signature over the order is not the maker's."""

    code = "order_signature_invalid"


class HashlockInvalid(Unprocessable):
    """A hashlock must not be zero."""

    code = "hashlock_invalid"


class ExtensionUnsupported(Unprocessable):
    """The order commits to a kind of order that is not supported."""

    code = "extension_unsupported"


class DestinationInvalid(Unprocessable):
    """The destination does not hold."""

    code = "destination_invalid"


class MakerInvalid(Unprocessable):
    """The maker or the source token is not a usable address."""

    code = "maker_invalid"


class AllowedTakersInvalid(Unprocessable):
    """The list of allowed takers does not hold."""

    code = "allowed_takers_invalid"


class DepositTooLow(Unprocessable):
    """A safety deposit would not pay for the public duties."""

    code = "deposit_too_low"


class PermitInvalid(Unprocessable):
    """The permit does not have the form that the factory takes."""

    code = "permit_invalid"


class FillInvalid(Unprocessable):
    """The fill cannot be opened as asked."""

    code = "fill_invalid"


class TakerNotAllowed(Unprocessable):
    """The order names its takers, and this is none of them."""

    code = "taker_not_allowed"


class TakerFundsLow(Unprocessable):
    """The taker's balance or allowance on the destination does not cover the price."""

    code = "taker_funds_low"
