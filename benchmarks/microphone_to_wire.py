"""From the last sample of a frame to its bytes on the socket, against the floor of a bare loop that only sends.

    python benchmarks/microphone_to_wire.py [SECONDS]

The daemon runs whole, with a null-like microphone whose frames carry their own number, and a server on loopback that
notes when each frame's bytes arrive. The floor is the same message over the same kind of socket with no daemon between:
encode, send, receive. Both include the loopback and the server's decoding.

The frames hold no speech. How many of them the daemon handles at a time is set, as it would be while somebody talks
over the agent, in a pause of somebody while nothing else sounds, and within words. The bound of 5 ms is for single
frames: of several that are sent together, the first waits for the last.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from statistics import median, quantiles

import websocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app import ears
from parleyd.app.service import Service
from parleyd.audio.devices.clock import RealTimeClock
from parleyd.audio.devices.device import Deliver, StreamInfo
from parleyd.audio.devices.null import NullOutput
from parleyd.audio.pcm import FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ
from parleyd.config.schema import Config, ElevenLabs, Gate, Wake
from parleyd.core import events


class NumberedMicrophone:
    """Frames that hold nothing but their number; notes when the last sample of each was there."""

    name = "numbered frames"
    overflows = 0

    def __init__(self) -> None:
        self.ended_s: dict[int, float] = {}
        self._clock: RealTimeClock | None = None

    def open(self, deliver: Deliver) -> StreamInfo:
        period_s = FRAME_MS / 1000

        def tick(at_s: float) -> None:
            number = len(self.ended_s) + 1
            self.ended_s[number] = time.monotonic()
            deliver(frame(number), at_s - period_s)

        self._clock = RealTimeClock("numbered", period_s, tick, start_s=time.monotonic() + period_s)
        return StreamInfo(PIPELINE_RATE_HZ, 1, FRAME_SAMPLES, period_s)

    def close(self) -> None:
        if self._clock is not None:
            self._clock.stop()


def frame(number: int) -> bytes:
    return number.to_bytes(4, "little") * (FRAME_SAMPLES // 2)


class Arrivals:
    """A server that notes when each numbered frame arrives."""

    def __init__(self) -> None:
        self.at_s: dict[int, float] = {}
        self._server: Server = serve(self._handle, "127.0.0.1", 0)
        self.url = f"127.0.0.1:{self._server.socket.getsockname()[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handle(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                arrived_s = time.monotonic()
                chunk = json.loads(message).get("user_audio_chunk")
                if chunk is None:
                    connection.send(
                        json.dumps(
                            {
                                "type": "conversation_initiation_metadata",
                                "conversation_initiation_metadata_event": {
                                    "conversation_id": "benchmark",
                                    "agent_output_audio_format": "pcm_16000",
                                    "user_input_audio_format": "pcm_16000",
                                },
                            }
                        )
                    )
                    continue
                sound = base64.b64decode(chunk)
                for i in range(0, len(sound), FRAME_SAMPLES * 2):
                    self.at_s[int.from_bytes(sound[i : i + 4], "little")] = arrived_s
        except ConnectionClosed:
            pass


def through_the_daemon(seconds: float, batch_ms: int) -> list[float]:
    ears.batch_ms = lambda **_: batch_ms
    arrivals, microphone = Arrivals(), NumberedMicrophone()
    config = Config(
        elevenlabs=ElevenLabs(agent_id="benchmark", base_url=f"http://{arrivals.url}"),
        wake=Wake(mode="always"),
        gate=Gate(uplink="open"),
    )
    service = Service(config, ElevenLabsAgent(config.elevenlabs, None), microphone, NullOutput(), events.Bus())
    service.start()
    time.sleep(seconds + 1.0)
    service.stop()
    # The first second holds the handshake.
    numbers = [n for n in arrivals.at_s if n > 50 and n in microphone.ended_s]
    return [(arrivals.at_s[n] - microphone.ended_s[n]) * 1000 for n in numbers]


def floor(seconds: float) -> list[float]:
    arrivals = Arrivals()
    connection = websocket.create_connection(f"ws://{arrivals.url}/", skip_utf8_validation=True)
    sent_s: dict[int, float] = {}
    for number in range(1, int(seconds * 1000 / FRAME_MS)):
        sent_s[number] = time.monotonic()
        connection.send(json.dumps({"user_audio_chunk": base64.b64encode(frame(number)).decode()}))
        time.sleep(FRAME_MS / 1000)
    connection.close()
    return [(arrivals.at_s[n] - sent_s[n]) * 1000 for n in sent_s if n in arrivals.at_s]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    rows = {
        "floor: encode, send, receive": floor(seconds),
        "parleyd, each frame as it comes": through_the_daemon(seconds, 0),
        "parleyd, in a pause of somebody": through_the_daemon(seconds, ears.PAUSE_BATCH_MS),
        "parleyd, within words": through_the_daemon(seconds, ears.WORDS_BATCH_MS),
    }
    print(f"{'ms from the last sample of a frame':<36}{'frames':>8}{'median':>9}{'p90':>9}{'p99':>9}{'worst':>9}")
    for name, values in rows.items():
        cuts = quantiles(values, n=100)
        print(f"{name:<36}{len(values):>8}{median(values):>9.2f}{cuts[89]:>9.2f}{cuts[98]:>9.2f}{max(values):>9.2f}")
    lower, ours, *_ = (median(values) for values in rows.values())
    verdict = "kept" if ours < 5 else "MISSED"
    print(f"parleyd / floor, medians: {ours / lower:.1f}; the bound is 5 ms at the median: {verdict}")


if __name__ == "__main__":
    main()
