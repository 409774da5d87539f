alter table wallets
    drop constraint wallets_chain_type_check,
    drop constraint wallets_public_key_check,
    add column native_address text unique,
    add constraint wallets_chain_type_check check (chain_type in ('ethereum', 'cardano')),
    add constraint wallets_public_key_check
        check (octet_length(public_key) = case chain_type when 'ethereum' then 65 else 32 end),
    add constraint wallets_native_address_check check ((chain_type = 'ethereum') = (native_address is null));
comment on column wallets.address is 'Address on EVM chains, or the fingerprint of an Ed25519 key; 0x and lower-case hex.';
comment on column wallets.public_key is 'Uncompressed secp256k1 point, 65 bytes, or an Ed25519 key, 32 bytes.';
comment on column wallets.native_address is 'Address on Cardano, bech32; null: address is the one.';
alter table policies
    drop constraint policies_chain_type_check,
    add constraint policies_chain_type_check check (chain_type in ('ethereum', 'cardano'));
