"""The addresses of a mind, of ears and of a voice over HTTP."""

from __future__ import annotations

import pytest

from parleyd.core.errors import UserError
from parleyd.embedded import part_url


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/v1", "https://models.example/v1/", "http://[::1]:1/v1"])
def test_an_address(url: str) -> None:
    part_url.check(url)
    assert part_url.shown(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "localhost:8000/v1",
        "file:///etc/hosts",
        "http://[",
        "http://a:x/v1",
        "http://a:99999/v1",
        "http://a:0",
    ],
)
def test_what_is_no_address_is_told_at_the_start(url: str) -> None:
    with pytest.raises(UserError, match="base_url"):
        part_url.check(url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://me:secret@models.example/v1?key=secret", "https://models.example/v1"),
        ("me:secr@t@models.example", "models.example"),
        ("http://a/b@c", "http://a/b@c"),
        ("http://me:secret@[", "http://["),
    ],
)
def test_secrets_in_an_address_are_not_shown(url: str, told: str) -> None:
    assert part_url.shown(url) == told
