"""What most conversations of the tests are made of: a configuration for a scripted server, and what that plays."""

from __future__ import annotations

from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.config.schema import Config, ElevenLabs, Reconnect, Session

QUESTION = "What time is it now?"


def config(server: ScriptedServer, **sections: object) -> Config:
    settings: dict[str, object] = {
        "session": Session(idle_timeout_s=60),
        "reconnect": Reconnect(initial_s=0.1, max_s=1.0),
        **sections,
    }
    return Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url), **settings)  # type: ignore[arg-type]


def silent(line: Line) -> None:
    line.ready()
    line.over.wait(WAIT_S)


def answering(line: Line) -> None:
    line.ready()
    line.wait_turn()
    line.hears("what time is it")
    line.says("It is noon.", 1.0)
    line.over.wait(WAIT_S)
