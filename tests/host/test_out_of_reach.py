"""Every file of a secret that the configuration names is out of the reach of tools and hooks."""

from __future__ import annotations

from pathlib import Path

from parleyd.app.out_of_reach import places
from parleyd.checks.configuration import parse

CONFIG = """
provider: openai
elevenlabs: {api_key: {file: /secret/elevenlabs}}
openai:
  api_key: {file: /secret/openai}
  mcp: {house: {url: "https://house.example/mcp", authorization: {file: /secret/mcp}}}
tools:
  command:
    lamp: {description: Switches it., run: ["true"], secrets: {TOKEN: {file: /secret/command}}}
  http:
    news: {description: Reads it., url: "https://news.example/", secrets: {token: {file: /secret/http}}}
  python:
    sums: {description: Counts., secrets: {TOKEN: {file: /secret/python}}}
"""


def test_no_file_of_a_secret_is_forgotten() -> None:
    named = {Path(word.strip("{}[],")) for word in CONFIG.split() if word.startswith("/secret/")}
    assert len(named) == 6
    assert named <= set(places(parse(CONFIG, "parleyd.yaml").config))
