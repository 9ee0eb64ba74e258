"""Bearer tokens of our own, and the hashes that stand for them."""

import hashlib
import secrets

PREFIX = "vgt_"  # Lets scanners for secrets, and us, tell our tokens from others.
HASH = "sha256:"


def new_token() -> str:
    """Returns a token that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """Returns what stands for a token where it must not be read."""
    return HASH + hashlib.sha256(token.encode()).hexdigest()
