"""Keys: random, checkable, kept as a hash only."""

from __future__ import annotations

from stillhouse.keys import hash_secret, new_secret, well_formed


def test_secrets_differ_and_check_out() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(well_formed(secret) for secret in secrets)


def test_a_mistyped_secret_is_seen() -> None:
    secret = new_secret()
    changed = secret[:-10] + ("a" if secret[-10] != "a" else "b") + secret[-9:]
    assert not well_formed(changed)
    assert not well_formed("sk-other")
    assert not well_formed("")


def test_the_hash_does_not_show_the_secret() -> None:
    secret = new_secret()
    assert secret not in hash_secret(secret)
    assert hash_secret(secret) == hash_secret(secret) != hash_secret(new_secret())
