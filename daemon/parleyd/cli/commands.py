"""The commands by name: where the help lists each, the file that carries it out, and what it does in a line. Pure.

Apart from those files, because `parleyd --help` would otherwise load everything that parleyd consists of, which takes
seconds on a small board.
"""

from __future__ import annotations

# The headings of the help; below each, the commands: the module in this folder, and its line of the help.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "the daemon": {
        "run": ("run", "run the daemon"),
        "status": ("status", "show the state and the troubles of the daemon"),
        "events": ("events", "show the events of the daemon"),
        "usage": ("usage", "show minutes and money by day"),
        "reload": ("reload", "read the configuration again"),
        "stop": ("orders", "end, and wait until it has; systemd starts a service again, so stop that with systemctl"),
    },
    "orders to the running daemon": {
        "wake": ("orders", "open a session with the agent, as if somebody had spoken"),
        "sleep": ("orders", "end the session; the daemon goes on listening"),
        "mute": ("orders", "hear nothing until `unmute`, also after a restart"),
        "unmute": ("orders", "hear again"),
        "volume": ("volume", "show or set the volume of the daemon"),
        "profile": ("profile", "show or choose the profile in force"),
        "settings": ("settings", "list the settings, keep those on trial, or go back to older ones"),
        "set": ("settings", "set a key of the configuration, without touching the file"),
        "unset": ("settings", "take a setting away: the file decides again"),
        "announce": ("announce", "speak a text to the people in the room"),
        "button": ("button", "let a push button wake, mute, ... the running daemon"),
        "mqtt": ("mqtt", "connect the running daemon with an MQTT broker and Home Assistant"),
        "wyoming": ("wyoming", "take announcements from Home Assistant"),
    },
    "a conversation": {
        "say": ("say", "say something to the agent in writing"),
        "chat": ("chat", "talk to the agent in writing"),
        "context": ("context", "tell the agent something that it should not answer"),
        "send-file": ("send_file", "show the agent a file"),
        "look": ("look", "take a picture with the camera, and show it to the agent"),
        "activity": ("activity", "tell the agent that somebody is busy with the device"),
        "feedback": ("feedback", "rate the agent's last answer"),
        "approve": ("approve", "allow a call of the agent's that waits for a person"),
        "deny": ("approve", "deny a call of the agent's that waits for a person"),
        "transcript": ("transcript", "show the transcript"),
        "conversations": ("conversations", "show past conversations: their cost, and why an answer was slow"),
    },
    "setting it up": {
        "setup": ("setup", "set it up step by step: sound, key, agent, voice, service, a first question"),
        "devices": ("devices", "list the sound devices"),
        "secret": ("secret", "store a key, encrypted where systemd can"),
        "check": ("check", "check the configuration, and the packages, programs, files and devices that it names"),
        "doctor": ("doctor", "find problems, and say how to fix them"),
        "report": ("report", "collect what a bug report needs in one archive, without secrets and words"),
        "tune": ("tune", "listen, draw the sound, and say which settings to change"),
        "bench": ("bench", "measure what the daemon costs on this board"),
        "tools": ("tools", "list the agent's tools, print them for its page, or try one"),
        "platform": ("platform", "fit the agent on the ElevenLabs platform to this device"),
    },
    "trying it without an account": {
        "demo": ("demo", "hold a conversation on this machine"),
        "agent": ("agent", "run the embedded agent as a server"),
    },
}
COMMANDS = {command: file for group in GROUPS.values() for command, (file, _) in group.items()}
SUMMARIES = {command: summary for group in GROUPS.values() for command, (_, summary) in group.items()}
