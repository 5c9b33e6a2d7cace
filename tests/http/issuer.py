"""Whoever signs tokens, with keys of each kind."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """The public half of a key, as a JWKS has it."""
    if isinstance(key, rsa.RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, **({"kid": kid} if kid else {}), **more}


@dataclass(slots=True)
class Issuer:
    """Who signs tokens, and the file that has its public keys."""

    file: Path

    def publish(self, *keys: Any) -> None:
        self.publish_text(json.dumps({"keys": keys}))

    def publish_text(self, text: str) -> None:
        """Replaces the file at once, as deployments do."""
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.file)

    def token(
        self,
        key: Any = RSA_KEY,
        algorithm: str = "RS256",
        kid: str | None = "rsa",
        *,
        without: str = "",
        **claims: Any,
    ) -> str:
        now = int(time.time())
        every = {"sub": "ada@example.org", "exp": now + 60, **claims}
        every.pop(without, None)
        return jwt.encode(every, key, algorithm, {"kid": kid} if kid else None)

    @classmethod
    def in_folder(cls, folder: Path) -> Issuer:
        """One that has published the three keys."""
        issuer = cls(folder / "jwks.json")
        issuer.publish(public(RSA_KEY, "rsa"), public(EC_KEY, "ec"), public(ED_KEY, "ed"))
        return issuer
