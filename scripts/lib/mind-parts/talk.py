"""Speaks with the agent as a client, with a synthetic voice, and prints the words and the delays of each turn.

python talk.py WS_URL MODEL_URL: three questions, and an interruption of the last answer. MODEL_URL: the server
of llama.cpp, which tells whether it still writes.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
import urllib.request

from websockets.sync.client import connect

from parleyd.embedded.voice import Voice

QUESTIONS = ("What is the capital of France?", "Name three fruits, please.", "Tell me a long story about a house.")
RATE_HZ, CHUNK_MS = 16_000, 40


def written(model_url: str) -> dict[int, int]:
    """The numbers of the answers on which llama.cpp is at work, each with the tokens it has written; 0: it still reads
    the prompt, in which it cannot be interrupted."""
    with urllib.request.urlopen(f"{model_url}/slots", timeout=60) as answer:
        slots = json.load(answer)
    return {one["id_task"]: one["next_token"][0]["n_decoded"] for one in slots if one["is_processing"]}


def main() -> int:
    failed = 0
    with Voice("rms") as person, connect(sys.argv[1], compression=None, max_size=16 * 1024 * 1024) as socket:
        socket.send(json.dumps({"type": "conversation_initiation_client_data"}))
        spoken_until_s = 0.0
        queue: list[bytes] = []
        stopping = threading.Event()

        def microphone() -> None:
            """Sound in real time: the queue, or silence."""
            size = RATE_HZ * CHUNK_MS // 1000 * 2
            due_s = time.monotonic()
            while not stopping.is_set():
                chunk = queue.pop(0) if queue else bytes(size)
                socket.send(json.dumps({"user_audio_chunk": base64.b64encode(chunk).decode()}))
                due_s += CHUNK_MS / 1000
                time.sleep(max(0.0, due_s - time.monotonic()))

        def say(text: str) -> float:
            """Returns when the last sample is spoken."""
            pcm, size = person.say(text, RATE_HZ), RATE_HZ * CHUNK_MS // 1000 * 2
            pcm += bytes(-len(pcm) % size)
            queue.extend(pcm[start : start + size] for start in range(0, len(pcm), size))
            return time.monotonic() + len(pcm) / 2 / RATE_HZ

        def until(*kinds: str) -> dict[str, object]:
            while True:
                message: dict[str, object] = json.loads(socket.recv(timeout=120))
                if message["type"] == "ping":
                    event_id = message["ping_event"]["event_id"]  # type: ignore[index]
                    socket.send(json.dumps({"type": "pong", "event_id": event_id}))
                elif message["type"] in kinds:
                    return message

        until("conversation_initiation_metadata")
        feeder = threading.Thread(target=microphone, daemon=True)
        feeder.start()
        for question in QUESTIONS:
            spoken_until_s = say(question)
            heard = until("user_transcript")["user_transcription_event"]["user_transcript"]  # type: ignore[index]
            until("audio")
            first_s = time.monotonic() - spoken_until_s
            print(f"  person: {question}\n  heard:  {heard}\n  first sound {first_s:.2f} s after the last word")
            failed += not heard.strip(". ")
            if question is not QUESTIONS[-1]:
                answer = until("agent_response")["agent_response_event"]["agent_response"]  # type: ignore[index]
                print(f"  agent:  {answer}\n")
                failed += not answer
        say("Stop it now.")
        story = written(sys.argv[2])
        told = until("interruption", "agent_response")
        if told["type"] == "agent_response":
            until("interruption")
        interrupted_s = time.monotonic()
        # The model may be at work on the next answer soon.
        tokens, asked_s, longest_s = [], time.monotonic(), 0.0
        while left := story.keys() & (now := written(sys.argv[2])).keys():
            tokens += [now[one] for one in left]
            answered_s = time.monotonic()
            longest_s, asked_s = max(longest_s, answered_s - asked_s), answered_s
        left_ms = 1000 * (time.monotonic() - interrupted_s)
        if tokens:
            print(f"  the model left the story {left_ms:.0f} ms after the interruption")
            told = f"it had written {tokens[0]} tokens when it was asked first, and {tokens[-1]} when it was asked last"
            print(f"  {told}, at most {1000 * longest_s:.0f} ms apart")
        else:
            print("  the model was at work on it no more when it was asked after the interruption")
        correction = until("agent_response_correction")["agent_response_correction_event"]
        print(f"  interrupted; heard of the story: {correction['corrected_agent_response']}")  # type: ignore[index]
        stopping.set()
        feeder.join()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
