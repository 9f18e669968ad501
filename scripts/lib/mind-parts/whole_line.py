"""The daemon with recordings of a person as its microphone, the agent, and the words that the speaker's recording has.

python whole_line.py AGENT_URL EARS_URL RECORDINGS FOLDER: sentences of Debian's asterisk-core-sounds-en-wav, read by a
woman for telephones. Each has a daemon of its own. The agent's answer is compared with the words that the ears (by the
API of OpenAI) understand of the WAV file that the daemon wrote as its speaker.
"""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
import threading
import wave
from pathlib import Path

import openai

from parleyd.control.client import Client, NotRunningError

SENTENCES = {
    "privacy-prompt": "Please enter your phone number, starting with the area code.",
    "agent-pass": "Please enter your password followed by the pound key.",
    "check-number-dial-again": "Please check the number and dial again.",
}
SILENCE_S = 1.5
# A telephone's voice, and a synthetic one, are not understood without a fault.
LEAST_ALIKE = 0.7
PATIENCE_S = 180


def main() -> int:
    agent_url, ears_url, recordings, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    ears = openai.OpenAI(base_url=ears_url, api_key="none", timeout=PATIENCE_S, max_retries=0)
    failed = 0
    for name, sentence in SENTENCES.items():
        heard, said, speaker = conversation(agent_url, recordings / f"{name}.wav", folder / name)
        with speaker.open("rb") as file:
            understood = ears.audio.transcriptions.create(file=file, model="-", language="en").text
        of_person, of_agent = alike(sentence, heard), alike(said, understood)
        print(f"  recording: {sentence}\n  heard:     {heard} ({of_person:.0%} of the words)")
        print(f"  agent:     {said}\n  speaker:   {understood.strip()} ({of_agent:.0%} of the words)\n", flush=True)
        failed += min(of_person, of_agent) < LEAST_ALIKE
    return 1 if failed else 0


def conversation(agent_url: str, recording: Path, folder: Path) -> tuple[str, str, Path]:
    """What the agent heard, what it said, and the recording of the speaker."""
    folder.mkdir()
    microphone, speaker, control = folder / "microphone.wav", folder / "speaker.wav", folder / "control.sock"
    with wave.open(str(recording), "rb") as read, wave.open(str(microphone), "wb") as written:
        written.setparams(read.getparams())
        written.writeframes(bytes(round(SILENCE_S * read.getframerate()) * read.getsampwidth()))
        written.writeframes(read.readframes(read.getnframes()))
    file = folder / "parleyd.yaml"
    file.write_text(
        f"elevenlabs: {{agent_id: local, base_url: {agent_url}}}\n"
        f"audio: {{input: {{device: 'wav:{microphone}'}}, output: {{device: 'wav:{speaker}'}}, echo: {{mode: off}}}}\n"
        f"session: {{idle_timeout_s: {PATIENCE_S}, false_wake_s: {PATIENCE_S}, no_person_s: {PATIENCE_S}}}\n"
        f"control: {{socket: {control}}}\n"
    )
    command = [sys.executable, "-m", "parleyd", "run", "-c", str(file)]
    with (folder / "daemon.log").open("wb") as log, subprocess.Popen(command, stderr=log, stdout=log) as daemon:
        late = threading.Timer(2 * PATIENCE_S, daemon.kill)
        late.start()
        try:
            heard, said = followed(control, daemon)
        finally:
            late.cancel()
            daemon.terminate()
    return heard, said, speaker


def followed(control: Path, daemon: subprocess.Popen[bytes]) -> tuple[str, str]:
    """The words of the person and of the agent, once the answer was heard to its end."""
    heard, said = "", ""
    with connected(control, daemon) as client:
        client.ask("events")
        for event in client.events():
            if event["event"] == "heard" and event["final"]:
                heard = event["text"]
            elif event["event"] == "answer_text" and heard:
                said = event["text"]
            elif event["event"] == "answer_ended" and said:
                return heard, said
    raise SystemExit("the daemon has ended")


def connected(control: Path, daemon: subprocess.Popen[bytes]) -> Client:
    while True:
        try:
            return Client(control)
        except NotRunningError:
            if daemon.poll() is not None:
                raise SystemExit("the daemon does not start") from None
            # The daemon tells nobody here that its socket is there.
            threading.Event().wait(0.1)


def alike(wanted: str, found: str) -> float:
    """The share of the words of `wanted` that stand in `found`, in the same order."""
    words, others = (re.findall(r"[a-z0-9']+", text.lower()) for text in (wanted, found))
    same = difflib.SequenceMatcher(None, words, others, autojunk=False).get_matching_blocks()
    return sum(block.size for block in same) / max(1, len(words))


if __name__ == "__main__":
    sys.exit(main())
