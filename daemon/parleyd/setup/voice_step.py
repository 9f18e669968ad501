"""The step `voice`: the language and the voice of the agent, with a sample to hear."""

from __future__ import annotations

from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.names import output_device
from parleyd.core.errors import UserError
from parleyd.platform.case import case_of
from parleyd.platform.desired import LANGUAGE, wants
from parleyd.platform.failures import PlatformError
from parleyd.platform.rest import AGENTS, ask
from parleyd.platform.tree import Path, dotted, value_at
from parleyd.setup.agent_step import language_of, present_id
from parleyd.setup.dialog import Option
from parleyd.setup.file import Changes
from parleyd.setup.provider_step import known_key
from parleyd.setup.samples import sample
from parleyd.setup.state import Setup
from parleyd.setup.voices import LANGUAGES, AccountVoice, for_language, read_voices
from parleyd.tuning.recording import play

_ANSWER_S = 20.0
_KEEP = "keep"
_VOICE: Path = ("conversation_config", "tts", "voice_id")
# Those of OpenAI's Realtime models; another server may have others.
_OPENAI = ("marin", "cedar", "alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse")


def run(setup: Setup) -> str:
    provider = setup.config.provider
    if provider == "local":
        setup.page.say("The embedded agent speaks English with a voice of its own.")
        return "the embedded agent's own"
    return _at_openai(setup) if provider == "openai" else _at_elevenlabs(setup)


def _at_openai(setup: Setup) -> str:
    language = language_of(setup, None)
    options = [Option(_KEEP, "keep", "as it is"), *(Option(name, name) for name in _OPENAI)]
    voice = setup.dialog.choose("voice", "Which voice?", options, setup.config.openai.voice or _KEEP)
    changes: dict[tuple[str, ...], object] = {}
    if language is not None:
        changes["openai", "language"] = language
    if voice != _KEEP:
        changes["openai", "voice"] = voice
    setup.write(changes)
    return f"{setup.config.openai.voice or 'the voice of the server'}"


def _at_elevenlabs(setup: Setup) -> str:
    key, agent_id = known_key(setup), present_id(setup)
    if key is None or agent_id is None:
        setup.page.note("Without a key and an agent neither language nor voice can be chosen here.")
        return "not chosen"
    url = setup.config.elevenlabs.base_url
    agent = ask(url, key, "GET", f"{AGENTS}/{agent_id}", None, what=f"the agent {agent_id}", timeout_s=_ANSWER_S)
    now = str(value_at(agent, LANGUAGE) or "en")
    now = now if now in LANGUAGES else "en"
    setup.page.say(f"The agent speaks {LANGUAGES[now]} now.")
    language = None if setup.language is not None else language_of(setup, None)
    changes: dict[tuple[str, ...], object] = {}
    if language is not None and language != now:
        changes["elevenlabs", "agent", "language"] = language
    voice = _voice(setup, url, key, language or now, value_at(agent, _VOICE))
    if voice is not None:
        changes["elevenlabs", "agent", "voice_id"] = voice.voice_id
    _apply(setup, key, agent_id, changes)
    if voice is not None and setup.dialog.yes(
        "announce", "The same voice for announcements (parleyd announce)?", unattended=False
    ):
        changes["announce", "voice_id"] = voice.voice_id
    setup.write(changes)
    shown = LANGUAGES[language or now]
    return f"{shown}, {voice.name}" if voice is not None else f"{shown}, the voice as it was"


def _voice(setup: Setup, url: str, key: str, language: str, now: object) -> AccountVoice | None:
    try:
        content = ask(url, key, "GET", "/v1/voices", None, what="the list of voices", timeout_s=_ANSWER_S)
    except PlatformError as error:
        setup.page.problem(str(error), error.hint.replace("convai_read", "voices_read"))
        return None
    voices = for_language(read_voices(content), language)
    options = [Option(_KEEP, "keep", "as it is")]
    for voice in voices:
        mark = ", now" if voice.voice_id == now else ""
        options.append(Option(voice.voice_id, voice.name, f"{voice.kind}{mark}"))
    while True:
        chosen = setup.dialog.choose("voice", "Which voice?", options, _KEEP)
        if chosen == _KEEP:
            return None
        voice = next(one for one in voices if one.voice_id == chosen)
        if setup.dialog.yes("sample", f"Hear {voice.name}?", unattended=False):
            _hear(setup, voice, language)
        if not setup.dialog.is_person or setup.dialog.yes("take", f"Take {voice.name}?"):
            return voice


def _hear(setup: Setup, voice: AccountVoice, language: str) -> None:
    url = voice.sample(language)
    if url is None:
        setup.page.note("This voice has no sample.")
        return
    output = setup.config.audio.output
    try:
        play(output_device(output.device), *sample(url), output.software_volume)
    except (DeviceError, UserError) as error:
        setup.page.problem(str(error), error.hint)


def _apply(setup: Setup, key: str, agent_id: str, changes: Changes) -> None:
    """Writes the choices to the agent, whoever has set them there before: the person has just decided."""
    if not changes:
        return
    config = setup.file.preview(changes)
    take = tuple(dotted(want.path) for want in wants(config.elevenlabs.agent, None))
    case = case_of(config, key, agent_id, take)
    with case.locked():
        plan = case.plan()
        if plan.has_work:
            case.carry_out(plan)
    setup.page.good("The agent has it now.")
