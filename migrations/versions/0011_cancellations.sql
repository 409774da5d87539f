alter table transactions
    add column cancels_late boolean not null default true,
    add column cancel_requested_at timestamptz,
    add column cancel_decision_id text,
    add column wanted_attempt integer not null default 0;
comment on column transactions.deadline_at is 'Not signed any more after this; what is signed by then is cancelled, unless cancels_late says no.';
comment on column transactions.cancels_late is 'Whether it is cancelled when it is signed but not mined at its deadline; false where half a way is worse than a late one.';
comment on column transactions.cancel_requested_at is 'When it was asked to be cancelled, or passed its deadline; its nonce is then used up by a self-send.';
comment on column transactions.cancel_decision_id is 'Decision of custody that allows the self-send; null while none is needed.';
comment on column transactions.wanted_attempt is 'A speed-up asks for this attempt; done once attempt has reached it.';

alter table transaction_attempts
    add column form text not null default 'original' check (form in ('original', 'cancellation'));
comment on column transaction_attempts.form is 'original: what was decided on; cancellation: a self-send of nothing under the same nonce.';

alter table nonce_reservations add column claimed_at timestamptz;
update nonce_reservations set claimed_at = created_at where transaction_id is null;
comment on column nonce_reservations.claimed_at is 'When it was signed for a caller, who sends it; null: never.';
comment on column nonce_reservations.transaction_id is 'Transaction that has it; null: its caller has, see claimed_at.';
comment on table signed_digests is 'Defence against signing twice: a digest stands here before its signature is asked for; a second one for a nonce must be a dearer form of the same transaction, or a self-send of nothing that cancels it.';
