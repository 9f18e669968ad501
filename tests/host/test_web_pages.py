"""Requests of web pages are told from those of programs."""

from __future__ import annotations

import pytest

from parleyd.host.web_pages import host_refusal, origin_refusal


@pytest.mark.parametrize(
    "origin", [None, "http://localhost", "http://LOCALHOST:3000", "https://127.0.0.2:8", "http://[::1]:3000"]
)
def test_programs_and_pages_of_this_machine_may_ask(origin: str | None) -> None:
    assert origin_refusal(origin) is None


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "file://", "http://127.0.0.1.evil.example", "http://localhost@evil.example",
     "http://[::1", "http://0x7f000001.evil.example"],
)  # fmt: skip
def test_other_pages_may_not(origin: str) -> None:
    assert origin_refusal(origin) is not None


def test_another_origin_may_be_allowed() -> None:
    assert origin_refusal("https://example.org", {"https://example.org"}) is None
    assert origin_refusal("http://example.org", {"https://example.org"}) is not None


def test_a_name_that_was_rebound_to_the_loopback_is_refused() -> None:
    assert host_refusal("evil.example:9464") is not None
    assert host_refusal("evil.example", {"evil.example"}) is None
    for own in (None, "127.0.0.1:9464", "localhost", "[::1]:1"):
        assert host_refusal(own) is None
