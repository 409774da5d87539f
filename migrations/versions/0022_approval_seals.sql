alter table approval_signatures add column seal bytea check (octet_length(seal) = 32);
comment on column approval_signatures.seal is 'Keyed code over a user''s word, which has no signature: one that was written past the service counts nothing.';
