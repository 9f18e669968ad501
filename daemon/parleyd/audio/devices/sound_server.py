"""Finds the real channels of a microphone behind PulseAudio or PipeWire, and how to request one of them.

If a client requests fewer channels than the source has, the server delivers a mix; if it requests more, the server
delivers copies. PortAudio does not know the number, because ALSA's plugin claims any number. The server names its
channels (front-left, aux0), and the plugin names them by their number alone. A channel with the same name on both sides
is passed unchanged, provided that every channel of the source has its name on the other side; a channel without one is
mixed into the others. This was measured with PulseAudio 16. According to its source, PipeWire's plugin uses the same
names for the numbers used here; it was not tried.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time

from msgspec import Struct

from parleyd.audio.devices.device import DeviceError, too_few_channels

ANSWER_S = 1.0

# pulse/channelmap.h: enum pa_channel_position.
_FL, _FR, _FC, _RL, _RR, _LFE, _SL, _SR, _AUX0 = 1, 2, 3, 5, 6, 7, 10, 11, 12
_NAMES = {0: "mono", _FL: "front-left", _FR: "front-right", _FC: "front-center", 4: "rear-center", _RL: "rear-left"}
_NAMES |= {_RR: "rear-right", _LFE: "lfe", 8: "front-left-of-center", 9: "front-right-of-center"}
_NAMES |= {_SL: "side-left", _SR: "side-right", **{_AUX0 + number: f"aux{number}" for number in range(32)}}
# The plugin's names of the channels, for each number of channels: pulse/channelmap.c, PA_CHANNEL_MAP_ALSA.
_PLUGIN = {2: (_FL, _FR), 4: (_FL, _FR, _RL, _RR), 6: (_FL, _FR, _RL, _RR, _FC, _LFE)}
_PLUGIN |= {8: (*_PLUGIN[6], _SL, _SR)}

# pulse/def.h: pa_context_flags, pa_context_state.
_NO_AUTOSPAWN = 1
_READY, _FAILED = 4, 5


class Source(Struct, frozen=True):
    """A source of a sound server."""

    name: str
    """The server's own name."""
    positions: tuple[int, ...]
    """One position of pulse/channelmap.h for each channel, in the order of the channels."""

    @property
    def names(self) -> list[str]:
        """The server's names of the channels."""
        return [_position(position) for position in self.positions]


class Choice(Struct, frozen=True):
    """The request by which one channel of a source arrives unchanged."""

    ask_for: int
    """The number of channels to open."""
    take: int
    """The number of the wanted channel among them, from 1."""


def choose(source: Source, channel: int) -> Choice:
    """How to get a channel, counted from 1 as the server does. Raises DeviceError if it does not exist, or cannot be
    reached."""
    there_are = len(source.positions)
    if channel > there_are:
        raise too_few_channels(f"the sound server's source '{source.name}'", there_are, channel)
    if there_are == 1:
        return Choice(1, 1)
    wanted = source.positions[channel - 1]
    for count, named in _PLUGIN.items():
        if set(source.positions) <= set(named) and len(set(source.positions)) == there_are:
            return Choice(count, named.index(wanted) + 1)
    position = _position(wanted)
    raise DeviceError(
        f"channel {channel} of the sound server's source '{source.name}' is called {position}, and through ALSA the "
        "server would mix it with others, or give silence",
        "set audio.input.device to the card itself (its name with `hw:` in `parleyd devices`); or let the server make "
        f"a source of that channel: pactl load-module module-remap-source master={source.name} source_name=channel"
        f"{channel} channels=1 channel_map=mono master_channel_map={position} remix=no; and make it the default (pactl "
        f"set-default-source channel{channel}), with audio.input.channel: null",
    )


def _position(number: int) -> str:
    return _NAMES.get(number, f"position {number}")


def source_behind(pcm_name: str) -> Source | None:
    """The source from which the ALSA device of this name records now; None: it is not a sound server, or the source is
    unknown."""
    return _behind(pcm_name, "pa_context_get_source_info_by_name", "PULSE_SOURCE", "capture_node")


def sink_behind(pcm_name: str) -> str | None:
    """The name of the sink to which the ALSA device of this name plays now; None: it is not a sound server, or the sink
    is unknown."""
    sink = _behind(pcm_name, "pa_context_get_sink_info_by_name", "PULSE_SINK", "playback_node")
    return None if sink is None else sink.name


def _behind(pcm_name: str, asks: str, variable: str, node: str) -> Source | None:
    found = _definition(pcm_name)
    if found is None:
        return None
    kind, settings = found
    if kind == "pulse":
        # Like alsa-plugins: without a device the client's default is used, then the server's.
        return _ask(asks, settings.get("server"), settings.get("device") or os.environ.get(variable))
    if kind == "pipewire":
        return _ask(asks, None, settings.get(node))
    return None


# ---------------------------------------------------------------- ALSA's configuration


def _definition(pcm_name: str) -> tuple[str, dict[str, str]] | None:
    """The type of a PCM, and its text settings. alsa-lib, conf.h."""
    try:
        alsa = ctypes.CDLL("libasound.so.2")
    except OSError:
        return None
    top, pcm = ctypes.c_void_p(), ctypes.c_void_p()
    if alsa.snd_config_update_ref(ctypes.byref(top)) < 0:
        return None
    try:
        if alsa.snd_config_search_definition(top, b"pcm", pcm_name.encode(), ctypes.byref(pcm)) < 0:
            return None
        try:
            settings = {}
            for name in ("type", "server", "device", "capture_node", "playback_node"):
                node, text = ctypes.c_void_p(), ctypes.c_char_p()
                if (
                    alsa.snd_config_search(pcm, name.encode(), ctypes.byref(node)) >= 0
                    and alsa.snd_config_get_string(node, ctypes.byref(text)) >= 0
                    and text.value
                ):
                    settings[name] = text.value.decode(errors="replace")
        finally:
            alsa.snd_config_delete(pcm)
    finally:
        alsa.snd_config_unref(top)
    return settings.pop("type", ""), settings


# ---------------------------------------------------------------- libpulse, which ALSA's plugin brings along


class _SampleSpec(ctypes.Structure):
    _fields_ = [("format", ctypes.c_int), ("rate", ctypes.c_uint32), ("channels", ctypes.c_uint8)]


class _ChannelMap(ctypes.Structure):
    _fields_ = [("channels", ctypes.c_uint8), ("map", ctypes.c_int * 32)]


class _SourceInfo(ctypes.Structure):
    """The first fields of pa_source_info and of pa_sink_info, pulse/introspect.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("index", ctypes.c_uint32),
        ("description", ctypes.c_char_p),
        ("sample_spec", _SampleSpec),
        ("channel_map", _ChannelMap),
    ]


_Told = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_SourceInfo), ctypes.c_int, ctypes.c_void_p)


def _ask(asks: str, server: str | None, name: str | None) -> Source | None:
    """Asks the server for a source or a sink, with libpulse's function of this name; None if libpulse is missing, or if
    the server does not answer within ANSWER_S."""
    try:
        pulse = ctypes.CDLL("libpulse.so.0")
    except OSError:
        return None
    for function in ("pa_mainloop_new", "pa_mainloop_get_api", "pa_context_new", asks):
        getattr(pulse, function).restype = ctypes.c_void_p
    found: list[Source] = []
    ended = False

    def told(_context: int, info: ctypes._Pointer[_SourceInfo], end: int, _user: int) -> None:
        nonlocal ended
        if end:
            ended = True
        else:
            channels = info.contents.channel_map
            found.append(Source(info.contents.name.decode(errors="replace"), tuple(channels.map[: channels.channels])))

    callback = _Told(told)
    with contextlib.ExitStack() as stack:
        loop = ctypes.c_void_p(pulse.pa_mainloop_new())
        stack.callback(pulse.pa_mainloop_free, loop)
        context = ctypes.c_void_p(pulse.pa_context_new(ctypes.c_void_p(pulse.pa_mainloop_get_api(loop)), b"parleyd"))
        stack.callback(pulse.pa_context_unref, context)
        if pulse.pa_context_connect(context, server and server.encode(), _NO_AUTOSPAWN, None) < 0:
            return None
        stack.callback(pulse.pa_context_disconnect, context)
        until_s, is_asked = time.monotonic() + ANSWER_S, False
        while not ended and (left_s := until_s - time.monotonic()) > 0:
            state = pulse.pa_context_get_state(context)
            if state >= _FAILED:
                return None
            if state == _READY and not is_asked:
                is_asked = True
                asked = getattr(pulse, asks)(context, name and name.encode(), callback, None)
                if not asked:
                    return None
                pulse.pa_operation_unref(ctypes.c_void_p(asked))
            if (
                pulse.pa_mainloop_prepare(loop, max(1, round(left_s * 1e6))) < 0
                or pulse.pa_mainloop_poll(loop) < 0
                or pulse.pa_mainloop_dispatch(loop) < 0
            ):
                return None
    return found[0] if found else None
