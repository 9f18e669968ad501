"""What strangers write reaches a terminal without steering it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from parleyd.core.text import json_text, one_line, printable

HOSTILE = "a\x1b[2J \x9b31m\u202eb\x07\u2028"


def steers(text: str) -> bool:
    return not all(sign.isprintable() or sign in "\n\u200c\u200d" for sign in text)


@given(st.text())
def test_nothing_steers_the_terminal(text: str) -> None:
    assert not steers(printable(text))
    assert one_line(text).isprintable()
    assert json_text({text: [text]}).isprintable()
    assert json.loads(json_text({text: [text]})) == {text: [text]}


def test_all_that_is_writing_stays() -> None:
    for text in ("日本語\nà e\u0301", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👩\u200d👧 ✈️"):
        assert printable(text) == text
    assert printable(HOSTILE) == "a [2J  31mb  "
    assert printable("one\r\ntwo\ttabs \u200fmarks") == "one\ntwo tabs marks"


def test_an_escape_does_not_make_its_neighbours_unreadable() -> None:
    assert one_line("日本\x07語") == "日本\\x07語"
    assert json_text("日本\x07\x9b語") == '"日本\\u0007\\u009b語"'
