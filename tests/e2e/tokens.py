#!/usr/bin/env python3
"""Tokens of the local issuer.

    tokens.py SUBJECT ROLE...       prints one
"""

import os
import sys

import requests


def get_token(sub: str, *roles: str, **claims) -> str:
    """A token for `sub` with these roles; further claims, `lifetime_s` among them, as tests/stack/issuer.py says."""
    asked = {"sub": sub, "roles": list(roles), **claims}
    answer = requests.post(f"{os.environ['SEALCAST_TEST_ISSUER']}/token", json=asked, timeout=10)
    answer.raise_for_status()
    return answer.json()["token"]


if __name__ == "__main__":
    print(get_token(*sys.argv[1:]))
