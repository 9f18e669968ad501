"""Which proxy the environment names: the rules of curl, read once for every connection."""

from __future__ import annotations

import ast
from base64 import b64encode
from pathlib import Path

import pytest

import parleyd
from parleyd.host.proxies import ProxyError, is_this_machine, proxy_for

P = "http://proxy.example:3128"


def found(environment: dict[str, str], host: str = "agent.example", port: int = 443, *, is_tls: bool = True) -> str:
    proxy = proxy_for(host, port, is_tls=is_tls, environment=environment)
    return "" if proxy is None else proxy.shown


@pytest.mark.parametrize(
    ("environment", "is_tls", "expected"),
    [
        ({}, True, ""),
        ({"https_proxy": P}, True, "proxy.example:3128 (https_proxy)"),
        ({"HTTPS_PROXY": P}, True, "proxy.example:3128 (HTTPS_PROXY)"),
        ({"https_proxy": "http://low.example:1", "HTTPS_PROXY": P}, True, "low.example:1 (https_proxy)"),
        ({"https_proxy": P}, False, ""),
        ({"http_proxy": P}, False, "proxy.example:3128 (http_proxy)"),
        ({"HTTP_PROXY": P}, False, "proxy.example:3128 (HTTP_PROXY)"),
        ({"http_proxy": P}, True, ""),
        ({"all_proxy": P}, True, "proxy.example:3128 (all_proxy)"),
        ({"ALL_PROXY": P}, False, "proxy.example:3128 (ALL_PROXY)"),
        ({"ALL_PROXY": P, "https_proxy": "http://own.example:1"}, True, "own.example:1 (https_proxy)"),
        # Set to nothing: no proxy for this scheme, whatever stands for all.
        ({"https_proxy": "", "HTTPS_PROXY": P, "ALL_PROXY": P}, True, ""),
        ({"https_proxy": "proxy.example:3128"}, True, "proxy.example:3128 (https_proxy)"),
        ({"https_proxy": "proxy.example"}, True, "proxy.example:80 (https_proxy)"),
        ({"https_proxy": "localhost:3128"}, True, "localhost:3128 (https_proxy)"),
        ({"https_proxy": "HTTP://PROXY.example:3128/"}, True, "proxy.example:3128 (https_proxy)"),
        ({"https_proxy": "http://[2001:db8::1]:3128"}, True, "[2001:db8::1]:3128 (https_proxy)"),
        ({"https_proxy": " http://proxy.example:3128 \n"}, True, "proxy.example:3128 (https_proxy)"),
    ],
)
def test_the_variables_and_their_order(environment: dict[str, str], is_tls: bool, expected: str) -> None:
    assert found(environment, is_tls=is_tls) == expected


@pytest.mark.parametrize(
    ("listed", "host", "port", "is_excepted"),
    [
        ("*", "agent.example", 443, True),
        ("agent.example", "agent.example", 443, True),
        ("agent.example", "AGENT.example.", 443, True),
        ("agent.example", "eu.agent.example", 443, True),
        ("agent.example", "my-agent.example", 443, False),
        (".agent.example", "eu.agent.example", 443, True),
        (".agent.example", "agent.example", 443, True),
        ("*.agent.example", "eu.agent.example", 443, True),
        ("other.example, agent.example", "agent.example", 443, True),
        ("other.example agent.example", "agent.example", 443, True),
        ("agent.example:443", "agent.example", 443, True),
        ("agent.example:8443", "agent.example", 443, False),
        ("192.0.2.0/24", "192.0.2.7", 443, True),
        ("192.0.2.7/24", "192.0.2.8", 443, True),
        ("192.0.2.0/24", "192.0.3.7", 443, False),
        ("192.0.2.7", "192.0.2.7", 443, True),
        ("192.0.2.7:80", "192.0.2.7", 443, False),
        ("2001:db8::/32", "2001:db8::7", 443, True),
        ("2001:db8::7", "2001:db8:0::7", 443, True),
        ("[2001:db8::7]:443", "2001:db8::7", 443, True),
        ("192.0.2.7", "::ffff:192.0.2.7", 443, True),
        ("2.7", "192.0.2.7", 443, False),
        ("nonsense/99", "agent.example", 443, False),
        (",, ,", "agent.example", 443, False),
        ("", "agent.example", 443, False),
    ],
)
def test_what_no_proxy_excepts(listed: str, host: str, port: int, is_excepted: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        assert (found({"https_proxy": P, name: listed}, host, port) == "") is is_excepted


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "0.0.0.0"])
def test_this_machine_is_never_reached_through_a_proxy(host: str) -> None:
    assert is_this_machine(host)
    every = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"), P)
    for is_tls in (True, False):
        assert found(every, host, is_tls=is_tls) == ""
        assert found(dict.fromkeys(every, "socks5://nowhere"), host, is_tls=is_tls) == ""


@pytest.mark.parametrize(
    ("value", "user_and_password"),
    [
        ("http://me:hunter2@proxy.example:3128", "me:hunter2"),
        ("me:hunter2@proxy.example:3128", "me:hunter2"),
        ("http://me%40corp:p%3Aa%2Fs%25s%C3%BC@proxy.example:3128", "me@corp:p:a/s%sü"),
        ("http://me@proxy.example:3128", "me:"),
        ("http://me:a@b@proxy.example:3128", "me:a@b"),
    ],
)
def test_user_and_password(value: str, user_and_password: str) -> None:
    proxy = proxy_for("agent.example", 443, is_tls=True, environment={"https_proxy": value})
    assert proxy is not None
    assert proxy.authorization == "Basic " + b64encode(user_and_password.encode()).decode()
    assert proxy.address == "proxy.example:3128"
    assert "hunter2" not in repr(proxy) + proxy.shown


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("socks5h://me:hunter2@proxy.example:1080", "the proxy socks5h://proxy.example:1080 (https_proxy) is not supp"),
        ("SOCKS5://proxy.example:1080", "the proxy socks5://proxy.example:1080 (https_proxy) is not supported"),
        ("socks4a://proxy.example:1080", "the proxy socks4a://proxy.example:1080 (https_proxy) is not supported"),
        ("https://proxy.example:443/", "the proxy https://proxy.example:443 (https_proxy) is not supported"),
        ("quic://me:hunter2@x", "the proxy quic:// (https_proxy) is not supported"),
        ("http://", "https_proxy holds no address of a proxy"),
        ("http://proxy.example:99999", "https_proxy holds no address of a proxy"),
        ("http://proxy.example:port", "https_proxy holds no address of a proxy"),
        ("“http://proxy.example:3128”", "https_proxy holds no address of a proxy"),
        ('"http://me:hunter2@proxy.example:3128"', "https_proxy holds no address of a proxy"),
        ("http://${PROXY}:3128", "https_proxy holds no address of a proxy"),
        ("http://a b:3128", "https_proxy holds no address of a proxy"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(value: str, said: str) -> None:
    with pytest.raises(ProxyError) as caught:
        found({"https_proxy": value})
    assert str(caught.value).startswith(said)
    assert caught.value.is_lasting
    assert "http://HOST:PORT" in caught.value.hint
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_there_is_one_reader_of_the_environment() -> None:
    """What opens connections in another way has rules of its own for proxies, for time, and for refusals."""
    ways = {"socket.create_connection", "urllib.request", "websocket.create_connection", "ssl.create_default_context"}
    for path in Path(parleyd.__file__).parent.rglob("*.py"):
        if path.name == "authorities.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                used = ast.unparse(node)
            elif isinstance(node, ast.Import):
                used = node.names[0].name
            else:
                continue
            # The doctor has its own deadlines; Wyoming parts stand in the house, and no proxy knows their protocol.
            allowed = used == "socket.create_connection" and (
                path.parent.name == "doctor" or path.name == "parts_by_address.py"
            )
            assert used not in ways or allowed, f"{path.name} uses {used}"
