"""What the configuration refuses about tools, and says about it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from parleyd.checks.configuration import ConfigError, parse

ROOT = Path(__file__).parents[2]
GOOD = """
built_in: [get_time, mute]
command:
  lamp:
    description: d
    parameters: {type: object, properties: {state: {enum: [on, off]}, n: {default: 1}, l: {}}, required: [state, l]}
    run: [/usr/bin/lamp, "--state={state}", "{n}", "{l...}", 5]
    may_be_option: [n]
    environment: {A: 5}
    secrets: {T: {env: X}}
    cancel_on_speech: true
http:
  weather:
    description: d
    parameters: {properties: {q: {type: string}, r: {}}, required: [q]}
    url: https://example.org/{q}
    headers: {Authorization: "Bearer {secret:t}"}
    secrets: {t: {credential: c}}
    body: {a: ["{r}"], b: {c: 1}}
python:
  dice: {description: d}
mcp:
  rules: [{tool: "a*", decision: ask}]
"""


def lines(tools: str) -> list[str]:
    try:
        parse(f"provider: local\ntools:\n{textwrap.indent(textwrap.dedent(tools), '  ')}", "p")
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_a_good_one() -> None:
    config = parse(f"provider: local\ntools:\n{textwrap.indent(GOOD, '  ')}", "p").config.tools
    lamp = config.command["lamp"]
    assert lamp.run == ["/usr/bin/lamp", "--state={state}", "{n}", "{l...}", "5"]
    assert (lamp.environment, lamp.cancel_on_speech, lamp.timeout_s) == ({"A": "5"}, True, 10.0)
    assert config.http["weather"].body == {"a": ["{r}"], "b": {"c": 1}}
    assert config.mcp.rules[0].decision == "ask"
    assert "X" not in repr(config.command["lamp"].environment)


def test_secrets_by_value_do_not_show() -> None:
    text = "command: {a: {description: d, run: [x], environment: {API_KEY: t0ps3cret}}}"
    config = parse(f"provider: local\ntools:\n  {text}", "p").config
    assert "t0ps3cret" not in repr(config.tools.command["a"])


COMMAND = "command: {{t: {{description: d, parameters: {parameters}, run: {run}}}}}"
X = "{properties: {x: {}}, required: [x]}"


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("[]", "there is no program to run"),
        ('["{x}"]', "the agent would choose the program"),
        ("[bin/x]", "counts from nowhere"),
        ('[sh, -c, "echo {x}"]', "would write a part of the program that sh runs"),
        ('[/bin/bash, -lc, "{x}"]', "would write a part of the program that bash runs"),
        ('[python3.11, -c, "print({x})"]', "would write a part of the program that python3.11 runs"),
        ('[timeout, 5, sh, -c, "echo {x}"]', "would write a part of the program that sh runs"),
        ('[python3, "-cprint({x})"]', "would write a part of the program that python3 runs"),
        ('[nice, ssh, lamp, "{x}"]', "ssh hands its arguments to a shell"),
        ('[ssh, lamp, "{x}"]', "ssh hands its arguments to a shell"),
        ('[find, /tmp, -exec, sh, -c, "echo {x}", ";"]', "would write a part of the program that sh runs"),
        ('[awk, "BEGIN {{ print {x} }}"]', "would write a part of the program that awk runs"),
        ('[gawk, -F, ":", -v, n=1, "/{x}/", /etc/passwd]', "would write a part of the program that gawk runs"),
        ('[sed, "s/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[nice, sed, -n, -e, "{x}p", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, -i, "s/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, -ie, "s/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, -E, -s, "s/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, "--expression=s/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, --expression, "s/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, -e, p, --expr, "s/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, -n, "-es/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, -f, "/{x}", /etc/motd]', "would write a part of the program that sed runs"),
        ('[busybox, sed, -i, "s/a/{x}/", /etc/motd]', "would write a part of the program that sed runs"),
        ('[gawk, "--source=BEGIN {{ print {x} }}"]', "would write a part of the program that gawk runs"),
        ('[gawk, -i, inplace, "{x}", /etc/motd]', "would write a part of the program that gawk runs"),
        ('[gawk, -l, "{x}", "1", /etc/motd]', "would write a part of the program that gawk runs"),
        ('[awk, --field-separator, ":", "{x}"]', "would write a part of the program that awk runs"),
        ('[nawk, "{x}"]', "would write a part of the program that nawk runs"),
        ('[original-awk, "{x}"]', "would write a part of the program that original-awk runs"),
        ('[awk, -v, "n={x}", "{{ print n }}", /etc/motd]', "would write a part of the program that awk runs"),
        ('[sed, -l, 60, "{x}p", /etc/motd]', "would write a part of the program that sed runs"),
        ('[sed, -n, 5p, "/var/log/{x}"]', 'as in [sh, -c, \'echo "$1"\', sh, "{text}"] or [sed, -n, -e, 5p,'),
        ('[jq, ".{x}", /a.json]', "would write a part of the program that jq runs"),
        ('[jq, --arg, a, b, ".{x}"]', "would write a part of the program that jq runs"),
        ('[perl, -ne, "print if /{x}/", /etc/motd]', "would write a part of the program that perl runs"),
        ('[node, -p, "{x}"]', "would write a part of the program that node runs"),
        ('[python3, -m, "{x}"]', "would write a part of the program that python3 runs"),
        ('[lua, -e, "a = 1", "{x}"]', "would write a part of the program that lua runs"),
        ('[php, -c, /php.ini, "{x}"]', "would write a part of the program that php runs"),
        ('[Rscript, -e, "print({x})"]', "would write a part of the program that Rscript runs"),
        ('[bash, "{x}"]', "would write a part of the program that bash runs"),
        ('[sqlite3, /a.db, "select {x}"]', "sqlite3 takes its arguments for a program"),
        ('[a, "{y}"]', "there is no parameter y"),
        ('[a, "{x"]', "belongs to no {placeholder}"),
        ('[a, "b{x...}"]', "stands alone"),
        ('[a, "{secret:x}"]', "can be seen by everybody"),
    ],
)
def test_commands(run: str, words: str) -> None:
    (line,) = lines(COMMAND.format(parameters=X, run=run))
    assert line.startswith("p:3: tools.command.t.run: ")
    assert words in line


@pytest.mark.parametrize(
    "run",
    [
        '[sh, -c, \'echo "$1"\', sh, "{x}"]',
        '[python3, /a.py, "-count={x}"]',
        '[nice, grep, -e, "{x}", ssh.log]',
        '[sed, -i, -e, 5p, "/var/log/{x}"]',
        '[awk, -f, /a.awk, "{x}"]',
        '[sed, -n, -e, 5p, "/var/log/{x}"]',
        '[awk, "{{ print $1 }}", "/var/log/{x}"]',
        '[perl, -ne, print, "{x}"]',
        '[jq, .a, -r, "/{x}.json"]',
        '[bash, /a.sh, -c, "{x}"]',
        '[lua, /a.lua, "{x}"]',
    ],
)
def test_a_script_may_take_a_value_as_its_argument(run: str) -> None:
    assert lines(COMMAND.format(parameters=X, run=run)) == []


def test_a_status_that_is_none() -> None:
    (line,) = lines("http: {t: {description: d, url: 'http://h/', allowed_status: [200, 99]}}")
    assert line.endswith("99 cannot stand in this list; use whole numbers from 200 to 599")


def test_names_and_values_of_ones_own_are_no_words_of_json_schema() -> None:
    own = "{properties: {maximun: {enum: [{enums: 1}], default: {enums: 1}, examples: [{b: 1}]}}, required: [maximun]}"
    assert lines(COMMAND.format(parameters=own, run='[a, "{maximun}"]')) == []


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("{properties: {x: {}}}", "the agent may leave x out"),
        ("{type: string}", "this does not describe parameters"),
        ("{properties: {x: {type: text}}, required: [x]}", "not a JSON Schema: properties.x.type"),
        ("{properties: {x: {$ref: 'http://h/s'}}, required: [x]}", "points elsewhere"),
        ("{properties: {x: {}}, required: [x, y]}", "required names y"),
        ("{patternProperties: {x: {}}}", "patternProperties has no use here"),
        ("{properties: {x: {anyOf: [{$ref: 'http://h/s'}]}}, required: [x]}", "points elsewhere"),
        ("{properties: {x: {type: integer, default: 1_000}}}", "the default of x is not allowed: '1_000'"),
        ("{properties: {x: {}, y: {maximum: 5, default: 6}}, required: [x]}", "the default of y is not allowed: 6 is"),
        ("{properties: {x: {maximun: 5}}, required: [x]}", "JSON Schema knows no `maximun`; did you mean maximum?"),
        ("{properties: {x: {items: {enums: [a]}}}, required: [x]}", "JSON Schema knows no `enums`; did you mean enum?"),
        ("{properties: {x: {}}, $defs: {a: {pattern: '(?<'}}, required: [x]}", "$defs.a.pattern: '(?<' is not"),
        ("{properties: {x: {description: how bright, in percent}}, required: [x]}", "no `in percent`; put a text"),
        ("{x: {type: string}}", "JSON Schema knows no `x`; names of parameters stand under properties"),
        ("{properties: {x: {pattern: 'a(b'}}, required: [x]}", "properties.x.pattern: 'a(b' is not"),
    ],
)
def test_schemas(parameters: str, words: str) -> None:
    (line,) = lines(COMMAND.format(parameters=parameters, run='[a, "{x}"]'))
    assert words in line


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("url: 'https://{x}/'", "use a URL such as"),
        ("url: 'https://a{x}.example.org/'", "use a URL such as"),
        ("url: 'ftp://h/'", "use a URL such as"),
        ("url: 'https://u:p@h/'", "use a URL such as"),
        ("url: 'https://h/{y}'", "there is no parameter y"),
        ("url: 'https://h/{secret:k}'", "only {name} has a place here"),
        ("url: https://h/, headers: {A: '{x}'}", "a parameter has no place in a header"),
        ("url: https://h/, headers: {A: '{secret:k}'}", "there is no secret k"),
        ("url: https://h/, headers: {'A:': b}", "A: is no header"),
        ('url: https://h/, headers: {A: "b\\nC: d"}', "A is no header"),
        ("url: https://h/, body: {a: '{y}'}", "there is no parameter y"),
        ("url: https://h/, secrets: {k: {}}", "no place of the secret is given"),
        ("url: https://h/, allowed_status: [99]", "tools.http.t.allowed_status"),
    ],
)
def test_requests(rest: str, words: str) -> None:
    (line,) = lines(f"http: {{t: {{description: d, parameters: {X}, {rest}}}}}")
    assert words in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("command: {get_time: {description: d, run: [x]}}", "a tool of this name under tools.built_in"),
        ("python: {'a b': {description: d}}", "an agent cannot call this name"),
        ("python: {a: {}}", "tools.python.a.description: it is missing"),
        ("mcp: {rules: [{decision: maybe}]}", "tools.mcp.rules.1.decision: maybe is none of the choices"),
        ("mcp: {otherwise: allow}", "tools.mcp.otherwise: allow is none of the choices"),
        ("built_in: get_time", "a list belongs here"),
        ("command: {a: {description: d, run: [x], cancel_on_speech: yes}}", "yes is neither true nor false"),
    ],
)
def test_the_rest(text: str, words: str) -> None:
    (line,) = lines(text)
    assert words in line


def warnings(tools: str) -> list[str]:
    text = f"provider: local\ntools:\n{textwrap.indent(textwrap.dedent(tools), '  ')}"
    return [str(warning) for warning in parse(text, "p").warnings]


TOKEN = "k8Jd02mZqP4xW7sT1vB9yLr5nQeA"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (f"headers: {{Authorization: Bearer {TOKEN}}}", "secrets: {NAME: {credential: authorization}}"),
        ("headers: {X-Api-Key: hunter2hunter2}", "write {secret:NAME} for it"),
        ("headers: {X-Thing: sk_0123456789abcdef}", "write {secret:NAME} for it"),
        ("headers: {X-Thing: Basic dXNlcjpwYXNzd29yZA==}", "write {secret:NAME} for it"),
        (f"body: {{a: [{{b: {TOKEN}}}]}}", "if the server takes it in a header"),
        ("body: {auth_token: hunter2hunter2}", "if the server takes it in a header"),
    ],
)
def test_a_secret_that_stands_in_a_request_is_warned_of_with_its_line(place: str, words: str) -> None:
    tool = f"http:\n  t:\n    description: d\n    url: https://h/\n    {place}\n    method: POST\n"
    (line,) = warnings(tool)
    assert line.startswith("p:7: tools.http.t.")
    assert "looks like a secret" in line
    assert words in line
    assert not any(secret in line for secret in (TOKEN, "hunter2", "sk_0", "dXNl"))


@pytest.mark.parametrize(
    "url", [f"https://h/?appid={TOKEN}", f"https://h/{TOKEN}/x", "https://h/?api_key=hunter2hunter2"]
)
def test_a_secret_that_stands_in_a_url_is_warned_of(url: str) -> None:
    (line,) = warnings(f'http: {{t: {{description: d, url: "{url}"}}}}')
    assert "tools.http.t.url: this looks like a secret" in line


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (f"environment: {{HASS: {TOKEN}}}", "move it to secrets: {HASS: {credential: hass}}"),
        ("environment: {DB_PASSWORD: hunter2hunter2}", "move it to secrets: {DB_PASSWORD: {credential: db-password}}"),
    ],
)
def test_a_secret_that_stands_in_an_environment_is_warned_of(place: str, words: str) -> None:
    (line,) = warnings(f"command: {{t: {{description: d, run: [x], {place}}}}}")
    assert words in line


def test_a_secret_that_stands_in_an_argument_is_warned_of() -> None:
    (line,) = warnings(f"command: {{t: {{description: d, run: [x, --token={TOKEN}]}}}}")
    assert "programs get secrets by their environment" in line


def test_what_is_no_secret_is_not_warned_of() -> None:
    plain = """
    http:
      t:
        description: d
        parameters: {properties: {q: {type: string}}, required: [q]}
        url: https://api.example.org/v1/devices/123e4567-e89b-12d3-a456-426614174000/living_room_lamp_number_2/{q}?units=metric
        headers: {Authorization: "Bearer {secret:t}", Accept: application/vnd.github.v3+json, X-Key: short}
        secrets: {t: {credential: c}}
        body: {max_tokens: 4000, title: "Kitchen and living room, 2026", token: "{q}"}
    command:
      c:
        description: d
        run: [/usr/local/lib/lamp-controller-2.14.3/bin/lamp, --config=/etc/lamp/living_room_2026.conf]
        environment: {SSH_KEY_FILE: /etc/keys/lamp, TZ: Europe/Vienna, LC_ALL: C.UTF-8}
        secrets: {TOKEN: {env: X}}
    """
    assert warnings(plain) == []


PAGES = [ROOT / "docs" / "tools.md", ROOT / "docs" / "examples" / "parleyd-dice" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_documentation_shows_is_good(page: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        assert parse("provider: local\n" + block, page.name).warnings == ()


def test_the_commented_tool_of_the_example_is_good() -> None:
    text = (ROOT / "config" / "parleyd.yaml").read_text(encoding="utf-8")
    found = re.search(r"(?m)^  #   command:\n(?:  #     .*\n)+", text)
    assert found is not None
    block = re.sub(r"(?m)^  #   ", "  ", found[0])
    config = parse("provider: local\ntools:\n" + block, "parleyd.yaml").config
    assert config.tools.command["lamp"].run[0] == "/usr/local/bin/lamp"


def faults(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(f"provider: local\n{textwrap.dedent(text)}", "p")
    return "\n".join(map(str, caught.value.problems))


def test_what_a_person_is_to_allow_can_be_allowed_by_somebody_and_in_time() -> None:
    door = "tools: {confirm_s: 20, command: {door: {description: d, confirm: true, timeout_s: SECONDS, run: [door]}}}\n"
    assert parse("provider: local\n" + door.replace("SECONDS", "95"), "p").config.tools.command["door"].confirm
    assert faults(door.replace("SECONDS", "95.5")) == (
        "p:2: tools.command.door.timeout_s: with the 20 s in which a person may allow it (tools.confirm_s) it takes "
        "longer than an agent waits; use at most 95 s, or shorten tools.confirm_s"
    )
    assert faults(door.replace("SECONDS", "5") + "control: {socket: off}\n") == (
        "p:2: tools.command.door.confirm: nobody could allow it: control.socket is off; set control.socket to auto"
    )
    assert faults("tools: {built_in: [mute], confirm_built_in: [mute]}\ncontrol: {socket: off}\n") == (
        "p:2: tools.confirm_built_in: nobody could allow them: control.socket is off; set control.socket to auto"
    )
    assert faults("tools: {confirm_built_in: [mute]}\n") == (
        "p:2: tools.confirm_built_in: the agent may not use mute at all; add it to tools.built_in, or remove it here"
    )
