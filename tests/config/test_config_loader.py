"""Reading a configuration file: what is taken, what is refused, and the words for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parleyd.checks.configuration import ConfigError, load, parse
from parleyd.config.base import Secret
from parleyd.config.loader import MAX_BYTES
from parleyd.config.schema import Config

LOCAL = "provider: local\n"


def good(text: str) -> Config:
    loaded = parse(text, "parleyd.yaml")
    assert loaded.warnings == ()
    return loaded.config


def lines(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [str(problem) for problem in caught.value.problems]


def only_line(text: str) -> str:
    (line,) = lines(text)
    return line


# ---------------------------------------------------------------- what is taken


RUN = "hooks: [{on: [answer_text], command: [/bin/echo, %s]}]"


@pytest.mark.parametrize(
    ("value", "words"),
    [(r'"a\0b"', "a NUL (\\0) in a text; remove it"), (r'"\ud83d"', "half a character (a single surrogate)")],
)
def test_no_text_has_a_nul_or_half_a_character(value: str, words: str) -> None:
    """A path, a program or a name with one is refused by the system, wherever it is used first."""
    for place in (f"earcons: {{timer: {value}}}", f"tools: {{command: {{x: {{run: [{value}]}}}}}}", RUN % value):
        assert any(words in line for line in lines(LOCAL + place)), place


def test_a_pair_of_surrogates_in_a_list_is_one_character() -> None:
    assert good(LOCAL + RUN % r'"\ud83d\ude00"').hooks[0].command[1] == "😀"


def test_a_file_with_nothing_but_the_agent_is_all_defaults() -> None:
    config = good("elevenlabs: {agent_id: agent_42}")
    assert config.elevenlabs.agent_id == "agent_42"
    assert config.gate == Config().gate
    assert config.session == Config().session


def test_every_key_of_the_contract_arrives() -> None:
    config = good("""
provider: elevenlabs
elevenlabs:
  agent_id: agent_42
  base_url: http://127.0.0.1:8080/base
  api_key: {env: ELEVENLABS_API_KEY}
  overrides: {prompt: p, first_message: "", language: de, llm: m, voice_id: v, stability: 0, speed: 1.2,
              similarity_boost: 1}
  dynamic_variables: {name: Ada, visits: 3, share: 0.5, vip: true}
  custom_llm_extra_body: {temperature: 0.2, stop: [a, null, {b: [1]}]}
local: {scenario: demo.yaml}
wake: {mode: manual, greeting: skip}
audio: {input: {device: "wav:in.wav"}, output: {device: null, volume: 0.25}}
gate: {aggressiveness: 3, pre_roll_ms: 200, hangover_ms: 5000, uplink: drop}
barge_in: {mode: off, cut: sharp, confirm_ms: 0, duck_db: 6}
session: {idle_timeout_s: 1, connect_timeout_s: 60, buffer_s: 1, keep_utterance_s: 3600}
reconnect: {initial_s: 0.1, max_s: 1}
log: {level: debug, format: journal}
""")
    eleven = config.elevenlabs
    assert eleven.base_url == "http://127.0.0.1:8080/base"
    assert eleven.api_key == Secret(env="ELEVENLABS_API_KEY")
    assert (eleven.overrides.first_message, eleven.overrides.speed, eleven.overrides.stability) == ("", 1.2, 0.0)
    assert eleven.dynamic_variables == {"name": "Ada", "visits": 3, "share": 0.5, "vip": True}
    assert eleven.custom_llm_extra_body == {"temperature": 0.2, "stop": ["a", None, {"b": [1]}]}
    assert config.local.scenario == "demo.yaml"
    assert (config.audio.input.device, config.audio.output.device) == ("wav:in.wav", "null")
    assert (config.barge_in.mode, config.barge_in.cut, config.wake.mode) == ("off", "sharp", "manual")
    assert (config.gate.pre_roll_ms, config.session.idle_timeout_s) == (200, 1.0)
    assert isinstance(config.session.idle_timeout_s, float)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("barge_in: {mode: off}", "barge_in.mode", "off"),  # a boolean in YAML 1.1
        ("audio: {input: {device: null}}", "audio.input.device", "null"),
        ("audio: {input: {device: ~}}", "audio.input.device", "null"),
        ("audio: {input: {device: 'null'}}", "audio.input.device", "null"),
        ("audio: {input: {device: 3}}", "audio.input.device", "3"),
        ("gate: {pre_roll_ms: 0500}", "gate.pre_roll_ms", 500),  # octal in YAML 1.1
        ("gate: {pre_roll_ms: 500.0}", "gate.pre_roll_ms", 500),
        ("session: {idle_timeout_s: 1e2}", "session.idle_timeout_s", 100.0),  # text in YAML 1.1
        ("elevenlabs: {agent_id: 12_34}", "elevenlabs.agent_id", "12_34"),
        ("elevenlabs: {agent_id: 0123}", "elevenlabs.agent_id", "0123"),
        ("elevenlabs: {agent_id: }", "elevenlabs.agent_id", None),
        ("elevenlabs: {dynamic_variables: {at: 12:30, on: yes}}", "elevenlabs.dynamic_variables",
         {"at": "12:30", "on": "yes"}),
        ("elevenlabs: {dynamic_variables: {day: 2024-01-01}}", "elevenlabs.dynamic_variables", {"day": "2024-01-01"}),
        ('elevenlabs: {dynamic_variables: {smile: "\\ud83d\\ude00"}}', "elevenlabs.dynamic_variables", {"smile": "😀"}),
        ("wake: &a {mode: always}\n", "wake.mode", "always"),
        ("gate:\nsession:\n", "gate.pre_roll_ms", 500),
        ("elevenlabs: {dynamic_variables: }", "elevenlabs.dynamic_variables", {}),
        ("elevenlabs: {custom_llm_extra_body: {a: &x [1], b: *x}}", "elevenlabs.custom_llm_extra_body",
         {"a": [1], "b": [1]}),
    ],
)  # fmt: skip
def test_values_mean_what_they_look_like(text: str, path: str, value: object) -> None:
    found: object = good(LOCAL + text)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gate:\n  hangovr_ms: 3", "p.yaml:3: gate.hangovr_ms: unknown key; did you mean hangover_ms?"),
        ("gate: {preRollMs: 3}", "p.yaml:2: gate.preRollMs: unknown key; did you mean pre_roll_ms?"),
        ("gate: {volume: 3}", "p.yaml:2: gate.volume: unknown key; it belongs under audio.output"),
        (
            "gate: {mode: x}",
            "p.yaml:2: gate.mode: unknown key; it belongs under openai.transcription, under openai.truncation, under "
            "wake, under audio, under audio.echo, under barge_in, under continuity or under mqtt.tls",
        ),
        ("hangover_ms: 3", "p.yaml:2: hangover_ms: unknown key; it belongs under gate"),
        ("audio: {gate: {}}", "p.yaml:2: audio.gate: unknown key; it belongs at the top of the file"),
        ("gate.uplink: open", "p.yaml:2: gate.uplink: unknown key; write `uplink:` below `gate:`, indented"),
        ("reconnect: {zzz: 1}", "p.yaml:2: reconnect.zzz: unknown key; the keys here are initial_s, max_s"),
        ('"a\\nb\\e[2J": 1', r"p.yaml:2: a\nb\x1b[2J: unknown key; the keys at the top of the file are "
         + ", ".join(Config.__struct_fields__)),
        ("gate: {}\ngate: {}", "p.yaml:3: gate: given twice, first in line 2; keep one of the two"),
        ("gate: {pre_roll_ms: 50}", "p.yaml:2: gate.pre_roll_ms: 50 is too small; "
         "use a whole number from 200 to 3000 ms (default 500)"),
        ("gate: {pre_roll_ms: 1.5}", "p.yaml:2: gate.pre_roll_ms: 1.5 is not a whole number; "
         "use a whole number from 200 to 3000 ms (default 500)"),
        ("gate: {pre_roll_ms: true}", "p.yaml:2: gate.pre_roll_ms: true is not a number; "
         "use a whole number from 200 to 3000 ms (default 500)"),
        ("gate: {pre_roll_ms: 500ms}", "p.yaml:2: gate.pre_roll_ms: 500ms is text, not a number; "
         "leave out the unit and use a whole number from 200 to 3000 ms (default 500)"),
        ("reconnect: {max_s: 500ms}", "p.yaml:2: reconnect.max_s: 500ms is text, not a number; "
         "its unit is s: use a number from 1 to 3600 s (default 60)"),
        ("reconnect: {initial_s: 500ms}", "p.yaml:2: reconnect.initial_s: 500ms is text, not a number; "
         "its unit is s: write 0.5"),
        ("session: {idle_timeout_s: 1 min}", "p.yaml:2: session.idle_timeout_s: '1 min' is text, not a number; "
         "its unit is s: write 60"),
        ("session: {idle_timeout_s: 30sec}", "p.yaml:2: session.idle_timeout_s: 30sec is text, not a number; "
         "leave out the unit and use a number from 1 to 3600 s (default 20)"),
        ("gate: {hangover_ms: 1.5s}", "p.yaml:2: gate.hangover_ms: 1.5s is text, not a number; "
         "its unit is ms: write 1500"),
        ("gate: {hangover_ms: 0.2005s}", "p.yaml:2: gate.hangover_ms: 0.2005s is text, not a number; "
         "its unit is ms: use a whole number from 200 to 5000 ms (default 900)"),
        ("gate: {hangover_ms: 1.2.3s}", "p.yaml:2: gate.hangover_ms: 1.2.3s is not a number; "
         "use a whole number from 200 to 5000 ms (default 900)"),
        ("barge_in: {duck_db: 12DB}", "p.yaml:2: barge_in.duck_db: 12DB is text, not a number; "
         "leave out the unit and use a number from 0 to 60 dB (default 12)"),
        ("barge_in: {duck_db: 3s}", "p.yaml:2: barge_in.duck_db: 3s is text, not a number; "
         "its unit is dB: use a number from 0 to 60 dB (default 12)"),
        ("gate: {pre_roll_ms: '500'}", "p.yaml:2: gate.pre_roll_ms: '500' is text, not a number; remove the quotes"),
        ("gate: {pre_roll_ms: }", "p.yaml:2: gate.pre_roll_ms: there is no value; "
         "use a whole number from 200 to 3000 ms (default 500), or remove the key"),
        ("gate: {pre_roll_ms: [1]}", "p.yaml:2: gate.pre_roll_ms: a list is not a number; "
         "use a whole number from 200 to 3000 ms (default 500)"),
        ("reconnect: {initial_s: 0}", "p.yaml:2: reconnect.initial_s: 0 is too small; "
         "use a number from 0.1 to 60 s (default 0.5)"),
        ("audio: {output: {volume: .nan}}",
         "p.yaml:2: audio.output.volume: the number is not finite; use a finite number"),
        ("session: {buffer_s: 1e999}", "p.yaml:2: session.buffer_s: the number is not finite; use a finite number"),
        ("gate: {uplink: silent}", "p.yaml:2: gate.uplink: silent is none of the choices; "
         "did you mean silence? (silence, open or drop)"),
        ("log: {format: xml}", "p.yaml:2: log.format: xml is none of the choices; "
         "use auto, text, json or journal (default auto)"),
        ("audio: {input: {device: 'wav:'}}", "p.yaml:2: audio.input.device: 'wav:' cannot stand here; "
         "use default, part of a device's name, wav:PATH, or null"),
        ("audio: {input: {device: }}", "p.yaml:2: audio.input.device: there is no value; "
         "use default, part of a device's name, wav:PATH, or null, or remove the key"),
        ("local: {scenario: ''}", "p.yaml:2: local.scenario: the text is empty; fill it in, or remove the key"),
        ("gate: 5", "p.yaml:2: gate: a mapping belongs here, not plain text; "
         "put its keys below it, indented, each as `key: value`"),
        ("reconnect: {initial_s: 9, max_s: 3}", "p.yaml:2: reconnect.initial_s: the first delay (9 s) is longer than "
         "the longest (reconnect.max_s: 3 s); use at most 3, or raise reconnect.max_s"),
        ("session: {buffer_s: 1}\ngate: {pre_roll_ms: 3000}", "p.yaml:2: session.buffer_s: 1 s cannot hold the "
         "pre-roll (gate.pre_roll_ms: 3000 ms); use at least 3, or shorten gate.pre_roll_ms"),
        ("log: {level: !!python/name:os.system ''}", "p.yaml:2: log.level: the tag !!python/name:os.system is not "
         "allowed: values are plain data; remove the tag, or quote the value"),
        ("gate: &g {uplink: open}\n<<: *g", "p.yaml:3:1: merge keys (<<) are not supported; write the keys out"),
        ("elevenlabs: {dynamic_variables: {a: [1]}}", "p.yaml:2: elevenlabs.dynamic_variables.a: text, a number, true "
         "or false belongs here, not a list; give one plain value, or {env: NAME}, {file: PATH} or "
         "{command: [PROGRAM, ARGUMENT]}"),
        ("elevenlabs: {dynamic_variables: {a: {env: X, file: Y}}}", "p.yaml:2: elevenlabs.dynamic_variables.a: env and "
         "file are given together; use one of {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT]}"),
        ("quiet_hours: [22:00-07:00]", "p.yaml:2: quiet_hours.1: a mapping belongs here, not plain text; put its "
         "keys below it, indented, each as `key: value`"),
        ("quiet_hours:\n- {from: 25:00}", "p.yaml:3: quiet_hours.1.from: 25:00 cannot stand here; use a time of day "
         "from 00:00 to 23:59"),
        ("quiet_hours: [{days: [sunday]}]", "p.yaml:2: quiet_hours.1.days: sunday cannot stand in this list; did you "
         "mean sun? (mon, tue, wed, thu, fri, sat or sun)"),
        ("quiet_hours:\n- {from: 21:00}\n- {days: []}", "p.yaml:4: quiet_hours.2: they begin on no day; remove `days` "
         "for every day"),
        ("hooks: [{on: [live, assleep], command: [a]}]", "p.yaml:2: hooks.1.on: assleep cannot stand in this list; did "
         "you mean asleep?"),
        ("hooks:\n- {on: [live], command: [a]}\n- {on: [live]}", "p.yaml:4: hooks.2.command: it is missing; add "
         "`command:` (the program and its arguments, passed unchanged; it gets the event on its standard input)"),
        ("hooks: [{on: [], command: [led]}]", "p.yaml:2: hooks.1.on: this hook is never run; write when: on: [live, "
         "asleep]"),
        ("hooks: [{on: [live], command: [led on]}]", "p.yaml:2: hooks.1.command: this is one word, the name of a "
         "program with a blank in it; write each argument on its own: command: [led, on]"),
        ("hooks: [{on: [live], command: [bin/led]}]", "p.yaml:2: hooks.1.command: bin/led counts from nowhere; give "
         "the whole path, from / on"),
        ("hooks: [{on: [live], command: [led], environment: {PARLEYD_STATE: a}}]", "p.yaml:2: hooks.1.environment: "
         "PARLEYD_STATE is one of the names that are set for every hook; give it another name"),
        ("quiet_hours: [{from: 12:00, to: 12:00}]", "p.yaml:2: quiet_hours.1: they end when they begin, at 12:00; for "
         "a whole day use {from: 00:00, to: 23:59}, else correct one of them"),
        ("transcript: {redact: '(a)'}", "p.yaml:2: transcript.redact: a list belongs here, not plain text; put `- "
         "value` lines below it, or [value, value]"),
        ("transcript: {redact: ['(']}", "p.yaml:2: transcript.redact: '(' is no regular expression: missing ) at "
         "position 1; correct it; in YAML it is best written in 'single quotes'"),
        ("transcript: {redact: ['a*']}", "p.yaml:2: transcript.redact: the pattern 'a*' fits everywhere, even where "
         "there is nothing; use + for *, or say more"),
        ("elevenlabs: {base_url: 'http://[::1'}", "p.yaml:2: elevenlabs.base_url: this URL has no usable host or port; "
         "use a URL such as https://api.elevenlabs.io"),
    ],
)  # fmt: skip
def test_each_problem_is_one_line_with_its_hint(text: str, line: str) -> None:
    assert only_line(LOCAL + text) == line


def test_all_problems_are_told_at_once_and_in_order() -> None:
    places = [line.split(": ")[0:2] for line in lines("""
reconnect: {initial_s: 5, max_s: 1}
gate:
  pre_roll_ms: 1
  hangovr_ms: 2
log: {level: loud, level: info}
wake: [speech]
""")]  # fmt: skip
    assert places == [
        ["p.yaml:1", "elevenlabs.agent_id"],
        ["p.yaml:2", "reconnect.initial_s"],
        ["p.yaml:4", "gate.pre_roll_ms"],
        ["p.yaml:5", "gate.hangovr_ms"],
        ["p.yaml:6", "log.level"],
        ["p.yaml:6", "log.level"],
        ["p.yaml:7", "wake"],
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "gate: {uplink: open}\nelevenlabs:\n  agent_id:\n"])
def test_elevenlabs_needs_an_agent(text: str) -> None:
    line = 3 if "agent_id" in text else 1
    assert only_line(text) == (
        f"p.yaml:{line}: elevenlabs.agent_id: the agent's id is missing; "
        "copy it from the agent's page at ElevenLabs, or use `provider: local`"
    )


def test_the_missing_agent_is_told_at_the_section() -> None:
    assert only_line("log: {}\nelevenlabs:\n  overrides: {}\n").startswith("p.yaml:2: elevenlabs.agent_id: ")


@pytest.mark.parametrize("agent_id", ["agent_xxx", "agent_XXXX", "...", "<agent id>", "https://elevenlabs.io/app/a"])
def test_what_is_not_an_agent_id_is_refused(agent_id: str) -> None:
    assert only_line(f"elevenlabs:\n  agent_id: {agent_id}\n").startswith("p.yaml:2: elevenlabs.agent_id: ")


@pytest.mark.parametrize(
    "text",
    ["providr: local", "provider: opnai", "elevenlab: {agent_id: a}", "elevenlabs: {agentid: a}", "agent_id: a",
     "elevenlabs: [a]", "elevenlabs: {agent_id: [a]}", "[]", "a: b: c"],
)  # fmt: skip
def test_one_mistake_is_not_told_twice(text: str) -> None:
    assert "missing" not in only_line(text)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("gate:\n\tx: 1", "2:1", "a tab"),
        ("a: b: c", "1:5", "a second `: `"),
        ("x: 1\na: 'open", "2:4", "a quote that is opened"),
        ("x: 1\na: {b: 1", "2:4", "a `{` without its `}`"),
        ("a: @x", "1:4", "put the value in quotes"),
        ("a: *x", "1:4", "an alias (*name) without its anchor"),
        ("a:\n  b: 1\n c: 2", "3:2", "the indentation does not fit"),
        ("--- a\n--- b\n", "2:1", "a second document"),
        ("x: 1\na: \x07", "2:4", "the character U+0007"),
        ('a: "\\U99999999"', "1:7", "an escape or a number out of range"),
        ("[" * 3000, "1:", "nested too deeply"),
        ("[1]", "1:1", "the file must be a mapping, not a list"),
        ("{}: 1", "1:1", "a key that is a list or a mapping"),
    ],
)
def test_invalid_yaml_is_told_with_its_place(text: str, place: str, words: str) -> None:
    assert [line for line in lines(text) if line.startswith(f"p.yaml:{place}") and words in line]


def test_aliases_cannot_blow_up() -> None:
    bomb = ", ".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    line = only_line(LOCAL + f"elevenlabs: {{custom_llm_extra_body: {{a: &a [1], {bomb}}}}}")
    assert "the aliases (*name) make this too large" in line
    assert "endless" in only_line(LOCAL + "elevenlabs: {custom_llm_extra_body: &a {b: *a}}")
    assert "gate.gate: unknown key" in only_line(LOCAL + "gate: &g {gate: *g}")


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "api_key",
    ["{sk_0123456789abc: }", "[sk_0123456789abc]", "{env: sk_0123456789abc}", "{env: [sk_0123456789abc]}",
     "{file: {sk_0123456789abc: 1}}", "!!binary sk_0123456789abc", '"sk_0123456789abc', "*sk_0123456789abc",
     "{key: sk_0123456789abc}", "{env: A, file: sk_0123456789abc}", "!sk_0123456789abc x"],
)  # fmt: skip
def test_a_key_in_the_wrong_place_is_refused_but_not_shown(api_key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"elevenlabs:\n  agent_id: a\n  api_key: {api_key}\n", "p.yaml")
    assert "0123456789abc" not in repr(caught.value.problems)
    assert all(problem.line == 3 for problem in caught.value.problems)


def test_a_file_that_is_the_key_itself_is_not_shown() -> None:
    assert "0123" not in only_line("0123456789abcdef0123456789abcdef\n")


def test_a_key_by_value_is_taken_with_a_warning_that_does_not_show_it() -> None:
    loaded = parse("elevenlabs:\n  agent_id: a\n  api_key: sk_0123456789abc\n", "p.yaml")
    assert loaded.config.elevenlabs.api_key == "sk_0123456789abc"
    (warning,) = loaded.warnings
    assert str(warning) == (
        "p.yaml:3: elevenlabs.api_key: the key itself stands in this file, for all who can read it; "
        "move it to a file that only the daemon can read and write api_key: {file: PATH}"
    )
    assert "sk_0" not in repr(loaded) + str(loaded.config) + repr(loaded.config.elevenlabs)


@pytest.mark.parametrize(
    ("api_key", "words"),
    [
        ("{}", "no place of the key is given"),
        ("{env: }", "no place of the key is given"),
        ("{env: A, file: B}", "env and file are given together"),
        ("$ELEVENLABS_API_KEY", "write api_key: {env: ELEVENLABS_API_KEY}"),
        ("${KEY}", "write api_key: {env: KEY}"),
        ("ELEVENLABS_API_KEY", "write api_key: {env: ELEVENLABS_API_KEY}"),
    ],
)
def test_exactly_one_place_of_the_key(api_key: str, words: str) -> None:
    line = only_line(f"elevenlabs:\n  agent_id: a\n  api_key: {api_key}\n")
    assert line.startswith("p.yaml:3: elevenlabs.api_key: ")
    assert words in line


def test_plain_http_is_warned_of_except_on_loopback() -> None:
    for host, is_warned in (("127.0.0.1:80", False), ("[::1]:80", False), ("localhost", False), ("a.example", True)):
        loaded = parse(f"elevenlabs: {{agent_id: a, base_url: 'http://{host}'}}", "p.yaml")
        assert [warning.key for warning in loaded.warnings] == ["elevenlabs.base_url"] * is_warned


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    line = only_line("elevenlabs: {agent_id: a, base_url: 'https://ada:hunter2@x.example'}")
    assert "without a user, a password" in line
    assert "hunter2" not in line


# ---------------------------------------------------------------- files


def unreadable(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    return str(problem)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "parleyd.yaml"
    assert unreadable(path) == f"{path}: there is no such file; parleyd setup makes one; -c FILE names another"
    assert unreadable(tmp_path) == f"{tmp_path}: this is a directory; name the file in it"
    assert "cannot be read: Not a directory" in unreadable(Path("/dev/null/x"))
    assert "not a usable path" in unreadable(Path("a\0b"))
    path.write_bytes(b"log: {}\nwake: {mode: \xff}\n")
    assert unreadable(path) == f"{path}:2: this is not UTF-8 text; save the file as UTF-8"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert "more than 256 KiB" in unreadable(path)


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "parleyd.yaml"
    path.touch(mode=0o000)
    as_root = os.geteuid() == 0
    if as_root:  # who may read everything
        os.seteuid(65534)
    try:
        assert "may not read it; make it readable" in unreadable(path)
    finally:
        if as_root:
            os.seteuid(0)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "parleyd.yaml"
    path.write_bytes(b"\xef\xbb\xbfprovider: local\r\n")
    assert load(path).config.provider == "local"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("audio: off", "off"),
        ("audio: 'off'", "off"),
        ("audio: false", "off"),
        ("audio: on", "on"),
        ("audio: true", "on"),
        ("audio:", "on"),
        ("audio: {mode: off, output: {volume: 0.5}}", "off"),
        ("audio: {mode: false}", "off"),
    ],
)
def test_off_is_off_however_it_is_written(text: str, mode: str) -> None:
    """A program that writes YAML 1.1 makes a truth value of it."""
    assert parse(LOCAL + text, "p.yaml").config.audio.mode == mode


def test_what_else_stands_in_the_place_of_a_section() -> None:
    line = "p.yaml:2: audio.mode: quiet is none of the choices; use on or off (default on)"
    assert only_line(LOCAL + "audio: quiet") == line
    assert only_line(LOCAL + "audio: [off]").startswith("p.yaml:2: audio: a mapping belongs here, not a list")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("audio:\n  input:\n    device: USB Microphone #2\n", 3, "audio.input.device"),
        ("audio: {output: {device: USB Audio   #2\n}}\n", 1, "audio.output.device"),
        ("audio: {output: {mixer: {control: Line #1 Out\n}}}\n", 1, "audio.output.mixer.control"),
        ("elevenlabs:\n  overrides:\n    prompt: You are robot #7\n", 3, "elevenlabs.overrides.prompt"),
        ("hooks:\n- on: [live]\n  command:\n  - light\n  - lamp #2\n", 5, "hooks.1.command"),
        ("audio:\r\n  input:\r\n    device: USB Microphone #2\r\n", 3, "audio.input.device"),
        ("\ufeffaudio:\n  input:\n    device: Mikrofon é #2\n", 3, "audio.input.device"),
    ],
)
def test_a_value_that_a_comment_cuts_short_is_warned_of(text: str, line: int, key: str) -> None:
    (warning,) = parse(f"{text}provider: local\n", "parleyd.yaml").warnings
    assert (warning.file, warning.line, warning.key) == ("parleyd.yaml", line, key)
    assert "takes the rest of the line for a comment" in str(warning)
    assert "put all of it in quotes" in str(warning)


@pytest.mark.parametrize(
    "value",
    [
        "default             # the microphone",
        "default # 2 channels",
        "default ## the microphone",
        '"USB Microphone #2"',
        "'USB Microphone #2'   #quoted",
        "USB Microphone#2",
        "default\n    #channel: null",
    ],
)
def test_an_ordinary_comment_is_none(value: str) -> None:
    loaded = parse(f"provider: local\naudio:\n  input:\n    device: {value}\n", "parleyd.yaml")
    assert loaded.warnings == ()


def test_a_number_or_a_choice_is_cut_short_by_nothing() -> None:
    text = "provider: local #or elevenlabs\naudio: {stall_s: 3 #seconds\n}\n"
    assert parse(text, "parleyd.yaml").warnings == ()
