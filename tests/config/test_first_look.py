"""Whether a configuration asks for sound cards, seen before it is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parleyd.config import first_look
from parleyd.config.first_look import asks_for_cards


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", True),
        ("elevenlabs: {agent_id: a}\n", True),
        ("audio: {input: {device: USB}, output: {device: default}}\n", True),
        ("audio: {input: {device: wav:a.wav}}\n", True),
        ('audio: {input: {device: "null"}, output: {device: wav:b.wav}}\n', False),
        ("audio: {mode: off}\n", False),
        ("audio: off\n", False),
        ('audio: {mode: "off"}\n', False),
        ("audio: {input: vmic}\n", True),
        ("audio: [off]\n", True),
        ("? [a]\n: b\naudio: off\n", False),
        ("audio: {mode: off\n", False),
        ("audio: \\xff\n\x00", False),
    ],
)
def test_what_a_file_asks_for(text: str, wanted: bool, tmp_path: Path) -> None:
    path = tmp_path / "parleyd.yaml"
    path.write_text(text)
    assert asks_for_cards(path) is wanted


def test_nothing_is_known_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert not asks_for_cards(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"audio: \xe4\n")
    assert not asks_for_cards(tmp_path / "latin.yaml")


def test_a_pipe_is_left_for_the_reader() -> None:
    reads, writes = os.pipe()
    os.write(writes, b"audio: on\n")
    os.close(writes)
    assert not asks_for_cards(Path(f"/dev/fd/{reads}"))
    assert os.read(reads, 100) == b"audio: on\n"
    os.close(reads)


def test_a_named_pipe_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would wake who waits to write into it, and the pipe would be closed before it has been read."""
    path, opened = tmp_path / "parleyd.yaml", list[Path]()
    os.mkfifo(path)

    def read(name: Path, _most: int) -> bytes:
        opened.append(name)
        return b""

    monkeypatch.setattr(first_look, "read_file", read)
    assert not asks_for_cards(path)
    assert opened == []
