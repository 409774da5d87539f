"""All calls of the API, each described once. `Endpoints` offers them as methods of whichever client it is mixed into."""

from lockstep.client.endpoints import access, custody, settlement
from lockstep.client.endpoints.calls import Call, Iterate, WaitFor


class Endpoints:
    """The methods of both clients. With `Client` they answer, with `AsyncClient` they are awaited."""

    create_app = Call(access.create_app)
    set_issuers = Call(access.set_issuers)
    get_app = Call(access.get_app)
    create_app_secret = Call(access.create_app_secret)
    list_app_secrets = Call(access.list_app_secrets)
    revoke_app_secret = Call(access.revoke_app_secret)
    list_kill_switches = Call(access.list_kill_switches)
    stop_app = Call(access.stop_app)
    resume_app = Call(access.resume_app)
    stop_deployment = Call(access.stop_deployment)
    resume_deployment = Call(access.resume_deployment)
    get_caller = Call(access.get_caller)
    make_login_message = Call(access.make_login_message)
    log_in = Call(access.log_in)

    create_wallet = Call(custody.create_wallet)
    get_wallet = Call(custody.get_wallet)
    list_wallets = Call(custody.list_wallets)
    iterate_wallets = Iterate(custody.list_wallets)
    update_wallet = Call(custody.update_wallet)
    create_policy = Call(custody.create_policy)
    get_policy = Call(custody.get_policy)
    list_policies = Call(custody.list_policies)
    iterate_policies = Iterate(custody.list_policies)
    update_policy = Call(custody.update_policy)
    create_session_signer = Call(custody.create_session_signer)
    list_session_signers = Call(custody.list_session_signers)
    iterate_session_signers = Iterate(custody.list_session_signers)
    revoke_session_signer = Call(custody.revoke_session_signer)
    preview = Call(custody.preview)
    rpc = Call(custody.rpc)
    sign_typed_data = Call(custody.sign_typed_data)
    personal_sign = Call(custody.personal_sign)
    send_transaction = Call(custody.send_transaction)
    list_audit_entries = Call(custody.list_audit_entries)
    iterate_audit_entries = Iterate(custody.list_audit_entries)

    get_transaction = Call(settlement.get_transaction)
    list_transactions = Call(settlement.list_transactions)
    iterate_transactions = Iterate(settlement.list_transactions)
    cancel_transaction = Call(settlement.cancel_transaction)
    wait_transaction = WaitFor(settlement.wait_transaction)

    post_order = Call(settlement.post_order)
    get_order = Call(settlement.get_order)
    list_orders = Call(settlement.list_orders)
    iterate_orders = Iterate(settlement.list_orders)
    get_price = Call(settlement.get_price)
    cancel_order = Call(settlement.cancel_order)
    fill_order = Call(settlement.fill_order)
    submit_secret = Call(settlement.submit_secret)
    hold_secret = Call(settlement.hold_secret)
    take_back_secret = Call(settlement.take_back_secret)
    get_secret = Call(settlement.get_secret)

    get_swap = Call(settlement.get_swap)
    list_swaps = Call(settlement.list_swaps)
    iterate_swaps = Iterate(settlement.list_swaps)
    get_swap_timeline = Call(settlement.get_swap_timeline)
    wait_swap = WaitFor(settlement.wait_swap)

    get_health = Call(settlement.get_health)
