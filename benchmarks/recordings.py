"""Real recordings out of Debian packages: voices, music, noises; each source for tuning or for judging, never for both.

A half is `tune` or `judge`. A person, a language, a kind of animal, a composer's package of music and a machine belong
to one half only, so that a constant chosen by what is heard in the one half is judged by what it has not heard.

The files are decoded by Debian's `sox` (with libsox-fmt-base for OGG, telephone GSM and WAV) to 16 kHz mono, and kept
decoded in $XDG_CACHE_HOME/parleyd/benchmarks (or ~/.cache). What is not installed is left out; `missing()` says what.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rooms import RATE_HZ, SPEECH_RANGE_DB, Sound, active_level_db, levels_db, trimmed

from parleyd.audio.pcm import to_pcm

Half = Literal["tune", "judge"]
Kind = Literal["voice", "music", "event", "ambience"]

DECODER = "sox"
DECODER_PACKAGES = ("sox", "libsox-fmt-base")
# Words, and sentences; what is longer is cut into none, for a prompt of half a minute is a talk with pauses of its own.
UTTERANCE_S = (0.25, 8.0)
WORD_MOST_S = 1.2
# The length of a piece of music, out of its middle; of an event; of an ambience.
MUSIC_S = 100.0
EVENT_S = (0.08, 6.0)
AMBIENCE_S = (0.5, 30.0)
FILES_MOST = {"voice": 90, "music": 12, "event": 40, "ambience": 12}
DECODING_TIMEOUT_S = 60
# A recording's speech is so far over its own noise; and what is no further below its loudest moment is speech anyway.
OVER_NOISE_DB = 10.0
CLEAR_RANGE_DB = 22.0


@dataclass(frozen=True)
class Source:
    """name: the person, the composer, the set of noises. pattern: a glob below folder; names: only files whose stem is
    one of these; but_not: beginnings of stems that are no such thing."""

    name: str
    half: Half
    kind: Kind
    package: str
    folder: str
    pattern: str
    names: tuple[str, ...] = ()
    but_not: tuple[str, ...] = ()


_ASTERISK = "/usr/share/asterisk/sounds/"
_EFFECTS = ("beep", "ascending", "descending", "tt-monkeys", "tt-weasels", "silence")
_FILLETS = "/usr/share/games/fillets-ng/sound"
_STAMPS = "/usr/share/tuxpaint/stamps"
_STAMP = "tuxpaint-stamps-default"
_KTUBERLING = "/usr/share/ktuberling/sounds/"
_KLETTRES = "/usr/share/klettres/"
_HEDGEWARS = "/usr/share/games/hedgewars/Data/"
_LINCITY = "/usr/share/games/lincity-ng/sounds"


def _prompts(name: str, half: Half, package: str, folder: str, pattern: str = "**/*.wav") -> Source:
    return Source(name, half, "voice", package, _ASTERISK + folder, pattern, but_not=_EFFECTS)


def _stamps(language: str, half: Half) -> Source:
    return Source(f"tuxpaint {language}", half, "voice", _STAMP, _STAMPS, f"**/*_desc_{language}.ogg")


def _words(language: str, half: Half) -> Source:
    return Source(f"ktuberling {language}", half, "voice", "ktuberling-data", _KTUBERLING + language, "*.*")


def _letters(language: str, half: Half) -> Source:
    return Source(f"klettres {language}", half, "voice", "klettres-data", _KLETTRES + language, "*/*.*")


def _acted(language: str, who: str, half: Half) -> Source:
    package, pattern = f"fillets-ng-data-{language}", f"**/{language}/*-{who}-*.ogg"
    return Source(f"fillets {language} {who}", half, "voice", package, _FILLETS, pattern)


def _team(name: str, half: Half) -> Source:
    return Source(f"hedgewars {name}", half, "voice", "hedgewars-data", _HEDGEWARS + f"Sounds/voices/{name}", "*.ogg")


SOURCES: tuple[Source, ...] = (
    # ------------------------------------------------ voices. English, Spanish, Italian, Dutch, Catalan, Danish,
    # German, Portuguese, Belarusian, Hebrew, Slovene here ...
    _prompts("Allison en, es", "tune", "asterisk-core-sounds-en-wav", "en_US_f_Allison"),
    _prompts("Allison en, es", "tune", "asterisk-core-sounds-es-wav", "es_MX_f_Allison"),
    _prompts("Carlo it", "tune", "asterisk-core-sounds-it-wav", "it_IT_m_Carlo"),
    _prompts("Menardi it", "tune", "asterisk-prompt-it-menardi-wav", "it_IT_f_Menardi"),
    _prompts("Colombia es", "tune", "asterisk-prompt-es-co", "es", "**/*.gsm"),
    _acted("nl", "m", "tune"),
    _acted("nl", "v", "tune"),
    *(_stamps(each, "tune") for each in ("ca", "es", "be", "nl", "da")),
    *(_words(each, "tune") for each in ("ca", "da", "de", "en", "es", "sl")),
    *(_letters(each, "tune") for each in ("en", "en_GB", "es", "de", "nl", "it", "pt_BR", "he", "da")),
    *(_team(each, "tune") for each in ("British", "Pirate", "Mobster")),
    # ... and French, Russian, Czech, Greek, Romanian, Bulgarian, Lithuanian, Ukrainian, Hungarian, Norwegian, Walloon,
    # Polish, Mandarin there.
    _prompts("June fr", "judge", "asterisk-core-sounds-fr-wav", "fr_CA_f_June"),
    _prompts("Armelle fr", "judge", "asterisk-prompt-fr-armelle", "fr", "**/*.gsm"),
    _prompts("Ivrvoice ru", "judge", "asterisk-core-sounds-ru-wav", "ru_RU_f_IvrvoiceRU"),
    _acted("cs", "m", "judge"),
    _acted("cs", "v", "judge"),
    *(_stamps(each, "judge") for each in ("fr", "ru", "el", "ro", "bg", "lt")),
    *(_words(each, "judge") for each in ("fr", "ru", "uk", "lt", "nn", "wa")),
    *(_letters(each, "judge") for each in ("fr", "ru", "uk", "cs", "hu", "lt", "nb")),
    *(
        Source(f"gcin {who}", "judge", "voice", "gcin-voice", "/usr/share/gcin-voice/ogg", f"*/{who}.ogg")
        for who in ("3", "5")
    ),
    *(_team(each, "judge") for each in ("Russian_pl", "Default_uk")),
    # ------------------------------------------------ music
    Source("moh-opsound", "tune", "music", "asterisk-moh-opsound-wav", "/usr/share/asterisk/moh", "*.wav"),
    Source("singularity", "tune", "music", "singularity-music", "/usr/share/games/singularity/music", "*.ogg"),
    Source("drascula", "tune", "music", "drascula-music", "/usr/share/scummvm/drascula/audio", "*.ogg"),
    Source("freedroid", "tune", "music", "freedroidrpg-data", "/usr/share/freedroidrpg/data/sound/music", "*.ogg"),
    Source(
        "muldjord",
        "tune",
        "music",
        "fretsonfire-songs-muldjord",
        "/usr/share/games/fretsonfire/data/songs/muldjord",
        "*/song.ogg",
    ),
    Source("hyperrogue", "judge", "music", "hyperrogue-music", "/usr/share/hyperrogue/music", "*.ogg"),
    Source("planetblupi", "judge", "music", "planetblupi-music-ogg", "/usr/share/planetblupi/music", "*.ogg"),
    Source("asc", "judge", "music", "asc-music", "/usr/share/games/asc/music", "*.*"),
    Source("hedgewars", "judge", "music", "hedgewars-data", _HEDGEWARS + "Music", "*.ogg"),
    Source("fillets", "judge", "music", "fillets-ng-data", "/usr/share/games/fillets-ng/music", "*.ogg"),
    Source(
        "sectoid",
        "judge",
        "music",
        "fretsonfire-songs-sectoid",
        "/usr/share/games/fretsonfire/data/songs/sectoid",
        "*/song.ogg",
    ),
    # ------------------------------------------------ what happens once, and again: animals, bells, doors, tools
    Source(
        "animals",
        "tune",
        "event",
        _STAMP,
        _STAMPS + "/animals",
        "**/*.ogg",
        names=(
            "dog", "cow", "cow_white", "bull", "bison", "rooster", "hen", "owl", "frog", "pig", "pig_golden", "horse",
            "zebra", "tiger", "lion", "cuckoo", "blackbird", "gorilla", "sea_lion", "bear", "bee", "camel", "squirrel",
        ),
    ),
    Source(
        "things",
        "tune",
        "event",
        _STAMP,
        _STAMPS,
        "*/**/*.ogg",
        names=("kettle", "toilet", "hammer", "camera_35mm", "glass", "bottle", "cymbal_crash", "rubberduck"),
    ),
    Source("pings", "tune", "event", "sound-icons", "/usr/share/sounds/sound-icons", "*.wav", but_not=("pisk",)),
    Source("telephone", "tune", "event", "linphone-common", "/usr/share/sounds/linphone", "**/*phone-mono.wav"),
    Source(
        "animals",
        "judge",
        "event",
        _STAMP,
        _STAMPS + "/animals",
        "**/*.ogg",
        names=(
            "fox", "sheep", "sheep_lamb", "goat", "mountaingoat", "crow", "duck", "drake", "gander", "turkey",
            "seagull", "donkey", "elephant", "chimp", "dolphin", "orca", "whale", "badger", "lark", "penguin", "deer",
            "doe", "koala", "vulture", "ferret", "hornet", "grasshopper",
        ),
    ),
    Source("cat", "judge", "event", _STAMP, _STAMPS + "/seasonal", "**/*.ogg", names=("blackcat", "fireworks")),
    Source(
        "doors, steps, woof",
        "judge",
        "event",
        "hyperrogue-music",
        "/usr/share/hyperrogue/sounds",
        "*.ogg",
        names=(
            "closegate", "opengate", "trapdoor", "mousesqueak", "seen-woof", "seen-eagle", "seen-snake", "splash1",
            "tada", "hit-sword1", "hit-axe1", "explosion", "steamhiss", "seen-dragon", "seen-kraken",
        ),
    ),
    Source(
        "bells, smith",
        "judge",
        "event",
        "unknown-horizons",
        "/usr/share/unknown-horizons/content/audio/sounds",
        "*.ogg",
        names=("chapel", "ships_bell", "smith", "stonemason", "click", "build"),
    ),
    # ------------------------------------------------ what goes on: machines, water, streets
    Source(
        "machines",
        "tune",
        "ambience",
        _STAMP,
        _STAMPS + "/household",
        "**/*.ogg",
        names=("vacuum_cleaner", "Washing-machine", "saw"),
    ),
    Source(
        "town",
        "tune",
        "ambience",
        "lincity-ng-data",
        _LINCITY,
        "*.wav",
        names=("Water1", "RailTrain1", "Mill1", "School1"),
    ),
    Source(
        "town, other places",
        "judge",
        "ambience",
        "lincity-ng-data",
        _LINCITY,
        "*.wav",
        names=("TraficHigh2", "WindMill2", "Harbor2", "CoalMine2", "MarketFull1"),
    ),
    Source("storm", "judge", "ambience", "hyperrogue-music", "/usr/share/hyperrogue/sounds", "*.ogg", names=("storm",)),
)  # fmt: skip


def missing(half: Half) -> list[str]:
    """Packages that are to be installed for everything of this half."""
    packages = [] if shutil.which(DECODER) else list(DECODER_PACKAGES)
    packages += [source.package for source in SOURCES if source.half == half and not Path(source.folder).is_dir()]
    return sorted(set(packages))


def load(half: Half, kind: Kind) -> dict[str, list[tuple[str, Sound]]]:
    """By the source's name: (the file's stem, its sound), trimmed; without sources of which there is nothing."""
    found: dict[str, list[tuple[str, Sound]]] = {}
    for source in SOURCES:
        if source.half == half and source.kind == kind and (sounds := _cached(source)):
            found.setdefault(source.name, []).extend(sounds)
    return found


def described(half: Half) -> list[str]:
    """The sources that are there, one line for each kind."""
    kinds: dict[str, list[str]] = {}
    for source in SOURCES:
        if source.half == half and Path(source.folder).is_dir():
            names = kinds.setdefault(source.kind, [])
            if source.name not in names:
                names.append(source.name)
    return [f"{kind}: {'; '.join(names)}" for kind, names in kinds.items()]


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "parleyd" / "benchmarks"


def _cached(source: Source) -> list[tuple[str, Sound]]:
    paths = _paths(source)
    if not paths:
        return []
    files = [(str(each), each.stat().st_size) for each in paths]
    told = repr((source, UTTERANCE_S, MUSIC_S, EVENT_S, AMBIENCE_S, OVER_NOISE_DB, CLEAR_RANGE_DB, files))
    kept = cache_folder() / f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.npz"
    if not kept.exists():
        if shutil.which(DECODER) is None:
            return []
        _keep(kept, source, paths)
    with np.load(kept) as archive:
        names, starts, samples = archive["names"], archive["starts"], archive["samples"]
    if not len(names):
        return []
    sounds = np.split(samples.astype(np.float32) / np.float32(32768), starts[1:])
    return [(str(name), sound) for name, sound in zip(names, sounds, strict=True)]


def _paths(source: Source) -> list[Path]:
    paths = [
        path
        for path in sorted(Path(source.folder).glob(source.pattern))
        if path.suffix in (".wav", ".ogg", ".gsm", ".mp3")
        and (not source.names or path.stem in source.names)
        and not (source.but_not and path.stem.startswith(source.but_not))
        and path.parent.name != "silence"
    ]
    # Spread over all there is, and not the first of the alphabet.
    most = FILES_MOST[source.kind]
    return [paths[number * len(paths) // most] for number in range(most)] if len(paths) > most else paths


def _keep(kept: Path, source: Source, paths: list[Path]) -> None:
    names, sounds = [], []
    for path in paths:
        sound = _shaped(source.kind, _decoded(path))
        if sound is not None:
            names.append(path.stem)
            sounds.append(np.frombuffer(to_pcm(sound * 32768), "<i2"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    starts = np.cumsum([0, *(len(each) for each in sounds)])[:-1] if sounds else np.zeros(0, int)
    # Two jobs may do the same at once: each writes a file of its own, the last one stays.
    partial = kept.with_name(f"{kept.stem}.{os.getpid()}.npz")
    samples = np.concatenate(sounds) if sounds else np.zeros(0, np.int16)
    np.savez(partial, names=np.array(names, dtype=np.str_), starts=starts, samples=samples)
    partial.replace(kept)


def _decoded(path: Path) -> Sound:
    """The whole file at 16 kHz, mono; empty when sox cannot read it."""
    command = [DECODER, "-D", "-V1", "-v", "0.9", str(path), "-t", "raw", "-r", str(RATE_HZ), "-b", "16"]
    command += ["-e", "signed-integer", "-c", "1", "-"]
    done = subprocess.run(command, capture_output=True, timeout=DECODING_TIMEOUT_S, check=False)
    return np.frombuffer(done.stdout, "<i2").astype(np.float32) / np.float32(32768)


def spoken_part(sound: Sound) -> Sound:
    """From the first 10 ms that are speech to the last: no more than 30 dB below the loudest, and over the recording's
    own noise, which in some of these is 30 dB below the voice. A beginning that is no speech would count as cut off."""
    step = RATE_HZ // 100
    levels = levels_db(sound, step)
    if not len(levels):
        return sound[:0]
    peak_db, noise_db = float(levels.max()), float(np.percentile(levels, 5))
    least_db = max(peak_db - SPEECH_RANGE_DB, min(noise_db + OVER_NOISE_DB, peak_db - CLEAR_RANGE_DB))
    loud = np.flatnonzero(levels > least_db)
    return sound[loud[0] * step : (loud[-1] + 1) * step]


def _shaped(kind: Kind, sound: Sound) -> Sound | None:
    """What of a file is used; None where that is nothing."""
    if not len(sound) or float(np.abs(sound).max()) < 1e-3:
        return None
    shaped: Sound = sound - sound.mean()
    if kind == "voice":
        shaped = spoken_part(shaped)
    elif kind == "event":
        shaped = trimmed(shaped)
    least_s, most_s = {"voice": UTTERANCE_S, "event": EVENT_S, "ambience": AMBIENCE_S, "music": (20.0, 1e9)}[kind]
    if kind == "music" and len(shaped) > MUSIC_S * RATE_HZ:
        start = round(len(shaped) - MUSIC_S * RATE_HZ) // 2
        shaped = shaped[start : start + round(MUSIC_S * RATE_HZ)]
    if kind in ("event", "ambience"):
        shaped = shaped[: round(most_s * RATE_HZ)]
    if not least_s <= len(shaped) / RATE_HZ <= most_s or active_level_db(shaped) < -60:
        return None
    return shaped
