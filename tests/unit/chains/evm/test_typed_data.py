"""EIP-712 against eth-account and the published example; what would not be signed is refused."""

import copy

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counts import examples

from lockstep.chains.evm import MalformedTypedData, keccak256, read_typed_data, to_checksum, typed_data_digest

MAIL = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    },
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}


def test_typed_data_digest__published_mail_example__published_hashes() -> None:
    result = typed_data_digest(MAIL)
    assert result.domain_separator.hex() == "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
    assert result.digest.hex() == "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"


def test_read_typed_data__mail__values_as_encoded() -> None:
    data = read_typed_data(MAIL)
    assert data.encoded_type == "Mail(Person from,Person to,string contents)Person(string name,address wallet)"
    assert data.message["from"] == {"name": "Cow", "wallet": "0xcd2a3d9f938e13cd947ec05abc7fe734df8dd826"}
    assert data.domain["chainId"] == 1
    assert data.types["Person"] == [("name", "string"), ("wallet", "address")]


def test_typed_data_digest__domain_type_left_out__same_digest() -> None:
    document = copy.deepcopy(MAIL)
    del document["types"]["EIP712Domain"]
    assert typed_data_digest(document) == typed_data_digest(MAIL)


_atoms: dict[str, st.SearchStrategy] = {
    "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "bool": st.booleans(),
    "string": st.text(max_size=20),
    "bytes": st.binary(max_size=40).map(lambda raw: "0x" + raw.hex()),
    "bytes32": st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex()),
    "bytes4": st.binary(min_size=4, max_size=4).map(lambda raw: "0x" + raw.hex()),
    "uint8": st.integers(0, 255),
    "uint256": st.integers(0, 2**256 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "int256": st.integers(-(2**255), 2**255 - 1),
}
_kinds = st.sampled_from(sorted(_atoms))


@st.composite
def documents(draw: st.DrawFn) -> dict:
    def member_value(kind: str) -> object:
        if kind.endswith("[]"):
            return [member_value(kind[:-2]) for _ in range(draw(st.integers(0, 2)))]
        if kind.endswith("[2]"):
            return [member_value(kind[:-3]) for _ in range(2)]
        if kind in types:
            return {entry["name"]: member_value(entry["type"]) for entry in types[kind]}
        return draw(_atoms[kind])

    types: dict = {
        "Leaf": [{"name": f"m{i}", "type": draw(_kinds)} for i in range(draw(st.integers(1, 3)))],
        "Branch": [{"name": "leaf", "type": "Leaf"}, {"name": "leaves", "type": "Leaf[]"}],
    }
    suffixes = st.sampled_from(["", "[]", "[2]", "[][]"])
    kinds = st.one_of(_kinds, st.sampled_from(["Leaf", "Branch"]))
    types["Root"] = [{"name": f"r{i}", "type": draw(kinds) + draw(suffixes)} for i in range(draw(st.integers(1, 4)))]
    types["Root"].append({"name": "branch", "type": "Branch"})  # eth-account wants every type to be reached
    domain = {"name": draw(st.text(max_size=8)), "chainId": draw(st.integers(0, 2**64))}
    types["EIP712Domain"] = [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}]
    return {"types": types, "primaryType": "Root", "domain": domain, "message": member_value("Root")}


@settings(max_examples=examples(120), deadline=None)
@given(documents())
def test_typed_data_digest__any_document__same_hashes_as_eth_account(document: dict) -> None:
    theirs = encode_typed_data(full_message=document)
    ours = typed_data_digest(document)
    assert ours.domain_separator == theirs.header
    assert ours.struct_hash == theirs.body
    assert ours.digest == keccak256(b"\x19" + theirs.version + theirs.header + theirs.body)


def test_typed_data_digest__integer_forms__one_digest() -> None:
    def document(value: object) -> dict:
        return {
            "types": {"A": [{"name": "x", "type": "uint256"}]},
            "primaryType": "A",
            "domain": {"name": "d"},
            "message": {"x": value},
        }

    assert len({typed_data_digest(document(form)).digest for form in (255, "255", "0xff", "0xFF")}) == 1
    for bad in (-1, "-1", 2**256, 1.0, True, None, "1e3", "01", " 1", "0x", "", "0x" + "f" * 65, "9" * 300):
        with pytest.raises(MalformedTypedData):
            typed_data_digest(document(bad))


def _mail(change) -> dict:  # type: ignore[no-untyped-def]
    document = copy.deepcopy(MAIL)
    change(document)
    return document


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["message"].update(extra="not signed"),
        lambda d: d["message"]["to"].update(extra="not signed"),
        lambda d: d["domain"].update(salt="0x" + "00" * 32),
        lambda d: d.update(extra=1),
        lambda d: d["message"].pop("contents"),
        lambda d: d["message"].update(to=None),
        lambda d: d["domain"].pop("chainId"),
        lambda d: d.update(primaryType="Nothing"),
        lambda d: d.update(primaryType="EIP712Domain", message=d["domain"]),
        lambda d: d["types"]["Mail"].append({"name": "x", "type": "Missing"}),
        lambda d: d["types"]["Mail"].append({"name": "x", "type": "uint"}),
        lambda d: d["types"]["Mail"].append({"name": "x", "type": "uint7"}),
        lambda d: d["types"]["Mail"].append({"name": "to", "type": "Person"}),
        lambda d: d["types"]["Mail"].append({"name": "x y", "type": "bool"}),
        lambda d: d["types"]["Mail"].append({"name": "x", "type": "Person[0]"}),
        lambda d: d["types"].update(uint256=[]),
        lambda d: d["types"]["EIP712Domain"].reverse(),
        lambda d: d["types"]["EIP712Domain"].append({"name": "mine", "type": "string"}),
        lambda d: d.update(domain={}, types={k: v for k, v in d["types"].items() if k != "EIP712Domain"}),
        lambda d: d["message"].update(contents="\ud800"),
        lambda d: d["message"].update(contents=b"bytes"),
        lambda d: d["message"]["to"].update(wallet="0xBBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"),
        lambda d: d["message"].update(contents="x" * 131_073),
    ],
)
def test_read_typed_data__document_that_does_not_hold__refused(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MalformedTypedData):
        read_typed_data(_mail(change))


def test_read_typed_data__nested_without_end__refused_quickly() -> None:
    types = {"A": [{"name": "next", "type": "A[]"}]}
    message: dict = {"next": []}
    for _ in range(400):
        message = {"next": [message]}
    with pytest.raises(MalformedTypedData):
        read_typed_data({"types": types, "primaryType": "A", "domain": {"name": "d"}, "message": message})
    wide = {"next": [{"next": []} for _ in range(5_000)]}
    with pytest.raises(MalformedTypedData):
        read_typed_data({"types": types, "primaryType": "A", "domain": {"name": "d"}, "message": wide})
    kind = "bool" + "[]" * 30
    deep = {"types": {"A": [{"name": "x", "type": kind}]}, "primaryType": "A", "domain": {"name": "d"}}
    value: object = True
    for _ in range(30):
        value = [value]
    with pytest.raises(MalformedTypedData):
        read_typed_data({**deep, "message": {"x": value}})


def test_read_typed_data__checksummed_address__same_as_plain() -> None:
    document = copy.deepcopy(MAIL)
    wallet = document["message"]["to"]["wallet"].lower()
    document["message"]["to"]["wallet"] = wallet
    assert typed_data_digest(document) == typed_data_digest(MAIL)
    assert to_checksum(wallet) == MAIL["message"]["to"]["wallet"]
