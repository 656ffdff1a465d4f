"""The settings of who may come in. Pure."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fastchat.config.section import DAY_S, GIB, Section, conflict
from fastchat.config.values import SECRET, Algorithms, JwksUrl, Text, Texts


class Auth(Section):
    """Who may come in: guests, accounts with passwords, and whom your own login knows by its tokens."""

    guests: Literal["auto", "on", "read-only", "off"] = Field(
        default="auto",
        description="auto lets guests in while only this machine can connect; read-only lets them watch.",
    )
    registration: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="auto lets people make accounts while only this machine can connect; off: you make them.",
    )
    password_length_min: int = Field(
        default=15,
        ge=8,
        le=64,
        description="Lower it only where a second factor protects accounts; NIST asks for 15 without one.",
    )
    password_threads: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Raise it on many cores where many log in at once; each takes password_memory_bytes.",
    )
    password_queue: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="Logins that may wait for a thread; more are told to come back.",
    )
    password_memory_bytes: int = Field(
        default=19 * 1024 * 1024,
        ge=8 * 1024 * 1024,
        le=GIB,
        description="Raise it to make guessing of stolen hashes dearer, and every login.",
    )
    password_rounds: int = Field(
        default=2,
        ge=1,
        le=100,
        description="As password_memory_bytes, in time alone; hashes are made anew at the next login.",
    )
    attempts: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Wrong passwords for one account before it has to wait longer and longer.",
    )
    attempts_per_address: int = Field(
        default=20,
        ge=1,
        le=100_000,
        description="As attempts, from one address; raise it where many users share one.",
    )
    attempts_wait_max_s: float = Field(
        default=60,
        ge=1,
        le=DAY_S,
        description="The longest such wait; others can make you wait so long, so don't raise it much.",
    )
    registrations_per_address: int = Field(
        default=5,
        ge=1,
        le=100_000,
        description="New accounts from one address before it has to wait longer and longer.",
    )
    secret: Text = Field(
        default="",
        description="What your login signs tokens with (HS256); a file or the environment keeps it safer.",
        json_schema_extra=SECRET,
    )
    secret_file: Text = Field(
        default="",
        description="A file with nothing but the secret, as orchestrators provide them.",
    )
    key_files: Texts = Field(
        default=(),
        description="PEM files of your login's public keys; a private one is used for its public half.",
    )
    jwks_url: JwksUrl = Field(
        default="",
        description="Where your login publishes its keys; they are fetched anew as it rotates them.",
    )
    jwks_timeout_s: float = Field(
        default=5, gt=0, le=60, description="Raise it where the login answers slowly; only new keys wait."
    )
    jwks_refresh_s: float = Field(
        default=3600,
        ge=10,
        le=30 * DAY_S,
        description="Lower it so that keys that your login has withdrawn are dropped sooner.",
    )
    jwks_retry_s: float = Field(
        default=30, ge=1, le=3600, description="How often at most unknown keys make the server ask again."
    )
    algorithms: Algorithms = Field(
        default=("HS256", "RS256", "ES256", "EdDSA"),
        description="Take out what your login doesn't use; a key is only ever used for its own algorithm.",
    )
    issuer: Text = Field(
        default="",
        description="What tokens must have as iss; set it where others could have tokens of the same key.",
    )
    audience: Text = Field(
        default="",
        description="What tokens must have as aud; set it where the login makes tokens for other services.",
    )
    leeway_s: float = Field(
        default=30, ge=0, le=600, description="How far your login's clock and this one may differ."
    )
    token_bytes: int = Field(
        default=8192, ge=256, le=65536, description="Raise it for tokens that name very many rooms."
    )
    token_expiry: Literal["required", "optional"] = Field(
        default="required",
        description="optional takes tokens that never expire; then only disabling ends what was stolen.",
    )

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        if self.secret and self.secret_file:
            raise conflict("auth.secret", "left out beside", "auth.secret_file")
        return self
