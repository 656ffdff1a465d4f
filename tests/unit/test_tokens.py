"""Tokens: whose signature counts, and what they have to say to be believed."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from fastchat.auth.keys import KeyProblem, jwk_keys, pem_key, secret_key, signing_key
from fastchat.auth.tokens import Claims, Key, Rules, fitting, read_header, verify
from fastchat.messages import Code, WireError
from fastchat.people import Grant, Role

SECRET = "a secret of thirty-two bytes or more"
NOW_S = 1_700_000_000
NOW_MS = NOW_S * 1000
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"HS256": SECRET.encode(), "RS256": RSA, "ES256": EC, "EdDSA": ED}


def public_pem(private: Any) -> bytes:
    pem: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(private: Any) -> bytes:
    pem: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


KEYS = [secret_key(SECRET), pem_key(public_pem(RSA)), pem_key(public_pem(EC)), pem_key(public_pem(ED))]


def sign(claims: Mapping[str, Any], algorithm: str = "HS256", key: Any = None, **header: Any) -> str:
    return jwt.encode(dict(claims), key or PRIVATE[algorithm], algorithm, headers=header or None)


def good(**claims: Any) -> dict[str, Any]:
    """What a right token says; None takes a claim away."""
    said = {"sub": "42", "name": "alice", "exp": NOW_S + 60, **claims}
    return {name: value for name, value in said.items() if value is not None}


def read(token: str, rules: Rules | None = None, keys: list[Key] | None = None) -> Claims:
    rules = rules or Rules()
    header = read_header(token, rules)
    return verify(token, header, KEYS if keys is None else keys, rules, NOW_MS)


def refusal(token: str, rules: Rules | None = None, keys: list[Key] | None = None) -> str:
    with pytest.raises(WireError) as caught:
        read(token, rules, keys)
    assert (caught.value.code, caught.value.field) == (Code.UNAUTHORIZED, "token")
    return caught.value.message


def unsigned(header: object, payload: object, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


# What is believed


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_every_kind_of_key_verifies_what_it_has_signed(algorithm: str) -> None:
    assert read(sign(good(iat=NOW_S - 5), algorithm)) == Claims(
        "\n42", "alice", None, NOW_MS - 5000, NOW_MS + 90_000
    )


def test_what_a_token_says() -> None:
    rules = Rules(issuer="https://login.example", audience="chat")
    said = good(
        iss="https://login.example", aud=["chat", "shop"], rooms={"support-*": "rw", "news": "r", "x": "rwm"}
    )
    assert read(sign(said), rules) == Claims(
        "https://login.example\n42",
        "alice",
        (Grant("news", Role.READER), Grant("support-*", Role.MEMBER), Grant("x", Role.MODERATOR)),
        None,
        NOW_MS + 90_000,
    )


def test_without_a_name_the_subject_is_the_name() -> None:
    assert read(sign(good(name=None, sub="bob"))).name == "bob"


def test_times_may_have_fractions_and_differ_by_the_leeway() -> None:
    assert read(sign(good(exp=NOW_S - 29.5))).expires_at_ms == NOW_MS + 500
    assert read(sign(good(nbf=NOW_S + 30, iat=NOW_S + 30))).issued_at_ms == NOW_MS + 30_000


def test_a_token_may_last_for_ever_where_the_settings_say_so() -> None:
    assert read(sign(good(exp=None)), Rules(expiry_required=False)).expires_at_ms is None
    assert "has no exp" in refusal(sign(good(exp=None)))


# What is not


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 1, ["HS256"], "HS512", "RS1"])
def test_none_and_other_algorithms_are_no_signature(algorithm: object) -> None:
    header = {"typ": "JWT"} if algorithm is None else {"alg": algorithm}
    for signature in (b"", b"x" * 32):
        refusal(unsigned(header, good(), signature))


def test_a_public_key_is_no_secret() -> None:
    for private in (RSA, EC, ED):
        pem = public_pem(private)
        # PyJWT itself would not sign with such a secret, an attacker would.
        signing_input = unsigned({"alg": "HS256"}, good()).rpartition(".")[0]
        for secret in (pem, pem.strip()):
            mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
            token = signing_input + "." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
            assert "not signed by a key" in refusal(token)
            assert "not signed by a key" in refusal(token, keys=KEYS[1:])


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_an_algorithm_is_computed_with_its_own_keys_alone(algorithm: str) -> None:
    token = sign(good(), algorithm)
    header = read_header(token, Rules())
    own = fitting(KEYS, header)
    assert [key.algorithms for key in own] == [frozenset({algorithm})]
    assert "not signed by a key" in refusal(token, keys=[key for key in KEYS if key not in own])


def test_an_algorithm_that_is_not_listed_is_refused_before_any_key_is_tried() -> None:
    token = sign(good(), "HS256")
    assert "must be signed by ES256" in refusal(token, Rules(algorithms=frozenset({"ES256"})))


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_what_another_has_signed_is_refused(algorithm: str) -> None:
    others = {
        "HS256": b"another secret of thirty-two bytes or more",
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    assert "not signed by a key" in refusal(sign(good(), algorithm, others[algorithm]))


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        (good(exp=NOW_S - 30), "has expired"),
        (good(exp=0), "has expired"),
        (good(exp="tomorrow"), "no time as exp"),
        (good(exp=True), "no time as exp"),
        (good(exp=1e300), "no time as exp"),
        (good(exp=float("nan")), "no time as exp"),
        (good(exp=-1), "no time as exp"),
        (good(nbf=NOW_S + 31), "not valid yet"),
        (good(nbf=[]), "no time as nbf"),
        (good(iat=NOW_S + 31), "in the future"),
        (good(iat={}), "no time as iat"),
        (good(sub=None), "has no sub"),
        (good(sub=""), "as sub"),
        (good(sub="a\nb"), "as sub"),
        (good(sub="s" * 257), "as sub"),
        (good(iss=""), "as iss"),
        (good(iss="a\nb"), "as iss"),
        (good(name=7), "as name"),
        (good(name=""), "as name"),
        (good(aud="chat"), "another audience"),
        (good(rooms=[]), "rooms"),
        (good(rooms="lobby"), "rooms"),
        (good(rooms={"lobby": "x"}), "rooms"),
        (good(rooms={"lobby": ["r"]}), "rooms"),
        (good(rooms={"Lobby": "r"}), "rooms"),
        (good(rooms={"[a-z]": "r"}), "rooms"),
        (good(rooms={"": "r"}), "rooms"),
        (good(rooms={"x" * 65: "r"}), "rooms"),
        (good(rooms={str(number): "r" for number in range(101)}), "rooms"),
    ],
)
def test_what_a_token_must_not_say(claims: Mapping[str, Any], problem: str) -> None:
    assert problem in refusal(sign(claims))


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        (good(), "has no iss"),
        (good(iss="https://login.example"), "has no aud"),
        (good(iss="https://evil.example", aud="chat"), "another issuer"),
        (good(iss="https://login.example/", aud="chat"), "another issuer"),
        (good(iss="https://login.example", aud="shop"), "another audience"),
        (good(iss="https://login.example", aud=[]), "has no aud"),
        (good(iss="https://login.example", aud={"chat": 1}), "audience"),
    ],
)
def test_issuer_and_audience_are_compared_where_they_are_set(claims: Mapping[str, Any], problem: str) -> None:
    rules = Rules(issuer="https://login.example", audience="chat")
    message = refusal(sign(claims), rules)
    assert problem in message or "cannot be read" in message


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b.c", "e30.e30.", "\u00e9", "[" * 8000, " " + sign(good()), sign(good()) + "=",
     unsigned([], good()), unsigned("HS256", good()), unsigned(None, good()), unsigned({"alg": "HS256"}, [])],
)  # fmt: skip
def test_what_is_no_token_is_refused(token: str) -> None:
    refusal(token)


def test_a_header_that_is_nested_deeply_is_no_header() -> None:
    deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 5900).rstrip(b"=").decode()
    assert len(deep) < 8192
    refusal(deep + ".e30.")


def test_an_oversized_token_is_not_looked_at() -> None:
    token = sign(good(padding="x" * 8000))
    assert "longer than 8192 bytes" in refusal(token)
    assert read(token, Rules(token_bytes=20_000)).name == "alice"


def test_extensions_are_not_understood() -> None:
    refusal(sign(good(), crit=["exp"], exp=1))
    refusal(sign(good(), crit=["b64"], b64=False))


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_truncated_token_is_refused_wherever_it_ends(algorithm: str) -> None:
    token = sign(good(), algorithm)
    for length in range(len(token)):
        refusal(token[:length])


@given(st.data())
def test_a_token_with_another_character_anywhere_is_refused(data: st.DataObject) -> None:
    token = sign(good(), data.draw(st.sampled_from(sorted(PRIVATE))))
    place = data.draw(st.integers(0, len(token) - 1))
    changed = (
        token[:place] + data.draw(st.characters(min_codepoint=33, max_codepoint=126)) + token[place + 1 :]
    )
    try:
        claims = read(changed)
    except WireError as error:
        assert error.code == Code.UNAUTHORIZED  # noqa: PT017
    else:
        # The last character of a part has bits that say nothing.
        assert claims == read(token)


@given(st.text(max_size=100))
def test_no_text_brings_anything_but_a_refusal(text: str) -> None:
    refusal(text)


# Keys by their name


def test_a_token_that_names_its_key_is_tried_with_no_other() -> None:
    other = rsa.generate_private_key(65537, 2048)
    keys = [Key(each.material, each.algorithms, name) for each, name in
            ((pem_key(public_pem(RSA)), "one"), (pem_key(public_pem(other)), "two"))]  # fmt: skip
    assert read(sign(good(), "RS256", RSA, kid="one"), keys=keys).name == "alice"
    assert read(sign(good(), "RS256", other), keys=keys).name == "alice"
    assert "not signed by a key" in refusal(sign(good(), "RS256", RSA, kid="two"), keys=keys)
    assert "not signed by a key" in refusal(sign(good(), "RS256", RSA, kid="three"), keys=keys)


def test_a_token_that_names_no_key_is_tried_with_few() -> None:
    others = [Key(each, frozenset({"EdDSA"}), str(number)) for number, each in
              enumerate(ed25519.Ed25519PrivateKey.generate().public_key() for _ in range(10))]  # fmt: skip
    assert "not signed by a key" in refusal(sign(good(), "EdDSA"), keys=[*others, KEYS[3]])
    assert read(sign(good(), "EdDSA"), keys=[*others[1:], KEYS[3]]).name == "alice"


# Keys from where they are written


@pytest.mark.parametrize("private", [RSA, EC, ED], ids=["RSA", "EC", "Ed25519"])
def test_a_pem_file_may_have_either_half(private: Any) -> None:
    assert pem_key(private_pem(private)).algorithms == pem_key(public_pem(private)).algorithms
    assert private_pem(signing_key(private_pem(private))) == private_pem(private)


@pytest.mark.parametrize(
    "pem",
    [
        b"", b"secret", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        public_pem(rsa.generate_private_key(65537, 1024)),
        public_pem(ec.generate_private_key(ec.SECP384R1())),
    ],
)  # fmt: skip
def test_a_pem_file_without_a_key_that_can_be_used_is_refused(pem: bytes) -> None:
    with pytest.raises(KeyProblem) as caught:
        pem_key(pem)
    assert "AAAA" not in str(caught.value)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(KeyProblem, match="32 bytes") as caught:
        secret_key("x" * 31)
    assert "xxx" not in str(caught.value)


def jwk(private: Any, **fields: Any) -> dict[str, Any]:
    algorithm: Any = {id(RSA): jwt.algorithms.RSAAlgorithm, id(EC): jwt.algorithms.ECAlgorithm}.get(
        id(private), jwt.algorithms.OKPAlgorithm
    )
    return {**json.loads(algorithm.to_jwk(private.public_key())), **fields}


def document(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


def test_a_jwk_set_has_keys_of_every_kind() -> None:
    keys = jwk_keys(document(jwk(RSA, kid="r", alg="RS256", use="sig"), jwk(EC, kid="e"), jwk(ED)))
    assert [(key.id, *key.algorithms) for key in keys] == [("r", "RS256"), ("e", "ES256"), (None, "EdDSA")]
    for algorithm, kid in (("RS256", "r"), ("ES256", "e"), ("EdDSA", "any")):
        assert read(sign(good(), algorithm, kid=kid), keys=keys).name == "alice"


@pytest.mark.parametrize(
    "entry",
    [
        None, [], {}, "key", {"kty": "oct", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
        {"kty": "RSA"}, {"kty": "RSA", "n": "x", "e": "AQAB"}, {"kty": "EC", "crv": "P-256", "x": 1, "y": []},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"}, {"kty": ["RSA"]},
        jwk(RSA, use="enc"), jwk(RSA, alg="PS256"), jwk(RSA, alg="HS256"), jwk(RSA, alg=["RS256"]),
        jwk(RSA, key_ops=["encrypt"]), jwk(RSA, key_ops="verify"), jwk(EC, crv="P-999"), jwk(RSA, n=7),
    ],
)  # fmt: skip
def test_what_is_no_key_here_is_left_out_of_a_jwk_set(entry: object) -> None:
    assert [key.id for key in jwk_keys(document(entry, jwk(ED, kid="good")))] == ["good"]
    with pytest.raises(KeyProblem, match="no RSA"):
        jwk_keys(document(entry))


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>", b"{}", b"[]", b"null", b'{"keys":{}}', b'{"keys":[', b"[" * 100_000, b"\xff", document(),
     document(*[jwk(ED)] * 101)],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_jwk_set_is_refused(text: bytes) -> None:
    with pytest.raises(KeyProblem):
        jwk_keys(text)
