"""Ids and keys as they are pasted: refused by what they can be made of, with line, key and the sign that is wrong."""

from __future__ import annotations

import os
import typing
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parleyd.checks.configuration import ConfigError, parse
from parleyd.config import signs
from parleyd.config.problem import Problem
from parleyd.config.secrets import SecretError, resolve_key

KEY = "sk_0123456789abcdef"
GOOD = "agent_0123456789abcdef"


def problems(text: str) -> tuple[list[Problem], list[Problem]]:
    """Problems, warnings."""
    try:
        return [], list(parse(text, "p.yaml").warnings)
    except ConfigError as error:
        return list(error.problems), list(error.warnings)


def with_value(key: str, value: str) -> str:
    shape: dict[str, object] = {"elevenlabs": {"agent_id": GOOD}}
    at = shape
    *sections, name = key.split(".")
    for section in sections:
        at = at.setdefault(section, {})  # type: ignore[assignment]
    at[name] = value
    return yaml.safe_dump(shape, allow_unicode=True, sort_keys=False)


ID_KEYS = [
    "elevenlabs.agent_id", "elevenlabs.overrides.voice_id", "elevenlabs.overrides.llm", "announce.voice_id",
    "announce.model_id",
]  # fmt: skip


@pytest.mark.parametrize("key", ID_KEYS)
@pytest.mark.parametrize(
    ("value", "said", "hint"),
    [
        ("“abc_123”", "and here is “ (LEFT DOUBLE QUOTATION MARK, U+201C) at its beginning", "without quotes"),
        ("abc’", "and here is ’ (RIGHT SINGLE QUOTATION MARK, U+2019) at its end", "without quotes"),
        ("abc_123\u200b", "and here is a ZERO WIDTH SPACE, U+200B at its end", "it hardly shows"),
        ("\ufeffabc_123", "and here is a ZERO WIDTH NO-BREAK SPACE, U+FEFF at its beginning", "it hardly shows"),
        ("abc_123\xa0", "and here is a NO-BREAK SPACE, U+00A0 at its end", "it hardly shows"),
        ("abc\u00ad123", "and here is a SOFT HYPHEN, U+00AD inside", "it hardly shows"),
        ("abc_123\u202c", "and here is a POP DIRECTIONAL FORMATTING, U+202C at its end", "it hardly shows"),
        ("аbc_123", "and here is а (CYRILLIC SMALL LETTER A, U+0430) at its beginning", "as its page shows it"),
        ("abc–123", "and here is – (EN DASH, U+2013) inside", "as its page shows it"),
        ("${SOME_ID}", "this is a template, and nothing fills it in here", "itself"),
        ("$SOME_ID", "this is a template, and nothing fills it in here", "itself"),
        ("{{some_id}}", "this is a template, and nothing fills it in here", "itself"),
        ("%SOME_ID%", "this is a template, and nothing fills it in here", "itself"),
        ("SOME_ID=abc_123", "this is a whole line NAME=value", "behind the ="),
        ("export SOME_ID=abc_123", "", ""),
        ('"abc_123"', 'and here is " (QUOTATION MARK, U+0022) at its beginning', "without quotes"),
        ("abc,def", "and here is , (COMMA, U+002C) inside", "as its page shows it"),
    ],
)
def test_what_no_id_can_hold_is_refused_where_it_stands(key: str, value: str, said: str, hint: str) -> None:
    text = with_value(key, value)
    found, _ = problems(text)
    (only,) = [problem for problem in found if problem.key == key]
    name = key.rpartition(".")[2]
    lines = text.splitlines()
    section = key.split(".")[-2]
    first = next(i for i, line in enumerate(lines) if line.strip() == f"{section}:")
    assert only.line == next(i for i, line in enumerate(lines, 1) if i > first and line.strip().startswith(name))
    assert said in only.text
    assert hint in only.hint
    assert value not in only.text + only.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("elevenlabs.agent_id", "agent_7101k5zvyjhmfg983brhmhkd98n6"), ("elevenlabs.agent_id", "J3Pbu5gP6NNKBscdCdwB"),
        ("elevenlabs.agent_id", "seng_01-AB"), ("elevenlabs.agent_id", "a"),
        ("elevenlabs.overrides.voice_id", "21m00Tcm4TlvDq8ikWAM"), ("announce.voice_id", "21m00Tcm4TlvDq8ikWAM"),
        ("announce.model_id", "eleven_flash_v2_5"), ("announce.model_id", "eleven_v4.1-turbo"),
        ("elevenlabs.overrides.llm", "claude-3-5-sonnet-v2@20241022"), ("elevenlabs.overrides.llm", "gpt-4.1-nano"),
        ("elevenlabs.overrides.llm", "org/model:free"), ("elevenlabs.overrides.language", "pt-br"),
        ("elevenlabs.base_url", "https://api.eu.residency.elevenlabs.io"), ("elevenlabs.base_url", "https://xn--e1a.example"),
        ("elevenlabs.base_url", "http://127.0.0.1:8080/broker"), ("elevenlabs.base_url", "http://[::1]:8080"),
        ("elevenlabs.base_url", "https://gateway.example/v1/elevenlabs"), ("elevenlabs.base_url", "https://köln.example"),
    ],
)  # fmt: skip
def test_what_ids_are_made_of_passes(key: str, value: str) -> None:
    assert problems(with_value(key, value))[0] == []


def test_every_language_model_of_the_official_sdk_passes() -> None:
    # Where only the Debian package is installed, there is no SDK.
    llm = pytest.importorskip("elevenlabs.types.llm")
    (names,) = [typing.get_args(one) for one in typing.get_args(llm.Llm) if typing.get_origin(one) is typing.Literal]
    assert len(names) > 20
    assert not [name for name in names if signs.trouble(name, signs.LLM_ID)]


def test_the_names_of_variables() -> None:
    for name in ("user_name", "user.name", "größe", "secret__pin", "a-b"):
        assert (
            problems(with_value(f"elevenlabs.dynamic_variables.{name}".replace("user.name", "user_name"), "x"))[0] == []
        )
    for name in ("{{user}}", "user name", "“user”", "user\u200b", "${USER}"):
        text = yaml.safe_dump({"elevenlabs": {"agent_id": GOOD, "dynamic_variables": {name: "x"}}}, allow_unicode=True)
        (only,) = problems(text)[0]
        assert only.line == 4
        assert only.key.startswith("elevenlabs.dynamic_variables.")


@pytest.mark.parametrize(
    ("url", "said", "hint"),
    [
        ("https://${HOST}", "this is a template", "write the URL itself"),
        ("https://api.elevenlabs.io\u200b", "no host has a ZERO WIDTH SPACE, U+200B in its name", "write the URL"),
        ("https://“api.elevenlabs.io”", "no host has “ (LEFT DOUBLE QUOTATION MARK, U+201C)", "write the URL"),
        ("https://api.elevenlabs.io/v1/convai", "/v1/convai is added to it by itself", "write https://api.elevenlabs.io"),
        ("https://api.elevenlabs.io/v1", "/v1 is added to it by itself", "write https://api.elevenlabs.io"),
        ("https://api.elevenlabs.io/v1/", "/v1/ is added to it by itself", "write https://api.elevenlabs.io"),
        ("https://gw.example/x/v1/convai/conversation", "is added to it by itself", "write https://gw.example/x"),
    ],
)  # fmt: skip
def test_base_urls(url: str, said: str, hint: str) -> None:
    (only,) = problems(with_value("elevenlabs.base_url", url))[0]
    assert only.key == "elevenlabs.base_url"
    assert said in only.text
    assert only.hint.startswith(hint)


BAD_KEYS = [
    (f'"{KEY}"', 'and here is " (QUOTATION MARK, U+0022) at its beginning'),
    (f"'{KEY}'", "and here is ' (APOSTROPHE, U+0027) at its beginning"),
    (f"ELEVENLABS_API_KEY={KEY}", "this is a whole line NAME=value"),
    (f"ELEVENLABS_API_KEY='{KEY}'", "this is a whole line NAME=value"),
    ("${ELEVENLABS_API_KEY}", "this is a template"),
    (f"{KEY},", "and here is , (COMMA, U+002C) at its end"),
    (f"xi-api-key:{KEY}", "and here is : (COLON, U+003A) inside"),
    (f"{KEY}\u200b", "such as a ZERO WIDTH SPACE, U+200B"),
    (f"“{KEY}”", "such as “ (LEFT DOUBLE QUOTATION MARK, U+201C)"),
    (f"export ELEVENLABS_API_KEY={KEY}", "it has blanks"),
    ("", "is empty"),
]


@pytest.mark.parametrize(("content", "said"), BAD_KEYS)
def test_a_key_file_that_holds_no_key_is_refused_at_check(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "elevenlabs.key"
    path.write_text(content + "\n")
    path.chmod(0o600)
    (only,) = problems(f"elevenlabs:\n  agent_id: {GOOD}\n  api_key: {{file: {path}}}\n")[0]
    assert (only.line, only.key) == (3, "elevenlabs.api_key")
    assert str(path) in only.text
    assert said in only.text
    assert KEY not in only.text + only.hint


@pytest.mark.parametrize(("content", "said"), BAD_KEYS[:-1])
def test_so_is_one_of_the_environment_and_of_a_credential(
    tmp_path: Path, content: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEYD_TEST_KEY", content)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "one").write_text(content)
    (tmp_path / "one").chmod(0o400)
    for place in ("{env: PARLEYD_TEST_KEY}", "{credential: one}"):
        (only,) = problems(f"elevenlabs:\n  agent_id: {GOOD}\n  api_key: {place}\n")[0]
        assert (only.line, only.key) == (3, "elevenlabs.api_key")
        assert said in only.text
        assert KEY not in only.text + only.hint


@pytest.mark.parametrize("key", [f"“{KEY}”", f"'\"{KEY}\"'", f"ELEVENLABS_API_KEY={KEY}", f"{KEY}\u200b", f"{KEY}\xa0"])
def test_so_is_one_in_the_file_itself(key: str) -> None:
    (only,) = problems(f"elevenlabs:\n  agent_id: {GOOD}\n  api_key: {key}\n")[0]
    assert (only.line, only.key) == (3, "elevenlabs.api_key")
    assert KEY not in only.text + only.hint


@pytest.mark.parametrize("env", ["${KEY}", "$KEY", "MY KEY", "“KEY”"])
def test_the_name_of_a_variable_is_bare(env: str) -> None:
    (only,) = problems(f"elevenlabs:\n  agent_id: {GOOD}\n  api_key:\n    env: {env}\n")[0]
    assert (only.line, only.key) == (4, "elevenlabs.api_key.env")
    assert only.hint == ("write env: KEY" if "$" in env else "write env: ELEVENLABS_API_KEY")


def test_a_key_that_cannot_be_had_from_here_is_no_fault_of_the_file(tmp_path: Path) -> None:
    assert "PARLEYD_NO_KEY" not in os.environ
    for place in ("{env: PARLEYD_NO_KEY}", f"{{file: {tmp_path}/none}}", "{credential: elevenlabs}"):
        assert problems(f"elevenlabs:\n  agent_id: {GOOD}\n  api_key: {place}\n") == ([], [])


def test_of_several_keys_in_one_file_it_is_said_which_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n\n# the old one:\n{KEY[:-1]}0\n")
    path.chmod(0o600)
    found, warnings = problems(f"elevenlabs:\n  agent_id: {GOOD}\n  api_key: {{file: {path}}}\n")
    assert found == []
    assert [one.text for one in warnings] == [f"the secret file {path} holds several keys, of which the first is taken"]
    assert resolve_key(
        parse(f"elevenlabs:\n  agent_id: a\n  api_key: {{file: {path}}}\n", "p").config.elevenlabs.api_key
    )
    path.write_text(f"{KEY}\n# made in January\nfor the kitchen\n\n")
    assert problems(f"elevenlabs:\n  agent_id: {GOOD}\n  api_key: {{file: {path}}}\n") == ([], [])


@pytest.mark.parametrize("key", [KEY, "0123456789abcdef0123456789abcdef", "eyJhbGciOi.eyJzdWIi.c2ln-_x", "YWJjZGVm=="])
def test_what_keys_are_made_of_passes(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEYD_TEST_KEY", key)
    assert problems(f"elevenlabs:\n  agent_id: {GOOD}\n  api_key: {{env: PARLEYD_TEST_KEY}}\n") == ([], [])


def test_the_daemon_itself_sends_no_such_key() -> None:
    with pytest.raises(SecretError, match=r"^elevenlabs\.api_key holds no key: this is a whole line NAME=value$"):
        resolve_key(f"KEY={KEY}", "elevenlabs.api_key")


@given(st.text(), st.sampled_from([signs.AGENT_ID, signs.LLM_ID, signs.VARIABLE, signs.API_KEY]))
def test_whatever_stands_there_has_an_answer_in_one_line(text: str, form: signs.Form) -> None:
    found = signs.trouble(text, form)
    for words in found or ():
        assert words
        assert words.isprintable()
    if found is None:
        assert not set(text) & set(" \t\n\"'`${}<>,;\u200b\xa0")
