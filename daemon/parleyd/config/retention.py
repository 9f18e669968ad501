"""The keys for stored data and for cost: continuity, budget, quiet hours, transcript, recordings."""

from typing import Annotated, Literal

from msgspec import Meta, field

from parleyd.config.base import Section, Text

TimeOfDay = Annotated[
    str,
    Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\s)",
        extra={"expected": "a time of day from 00:00 to 23:59"},
    ),
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_DAY: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Continuity(Section, frozen=True):
    """The earlier conversation that the agent is told in a new session."""

    mode: Annotated[
        Literal["always", "lost_line", "off"],
        Meta(
            description="always: also after the daemon has hung up; lost_line: only after a lost connection; off: never"
        ),
    ] = "always"
    max_age_s: Annotated[
        float, Meta(ge=1, le=86400, description="age of the last words after which nothing is carried over")
    ] = 300.0
    max_lines: Annotated[
        int, Meta(ge=1, le=100, description="number of sentences and answers carried over, the newest ones")
    ] = 12
    max_chars: Annotated[
        int, Meta(ge=100, le=20000, description="number of characters carried over, the newest ones")
    ] = 2000


PerMillion = Annotated[float, Meta(ge=0, le=1_000_000)]


class Price(Section, frozen=True):
    """The price of a model, for a million tokens of each kind."""

    text_in: Annotated[PerMillion, Meta(description="text and instructions")] = 0.0
    audio_in: Annotated[PerMillion, Meta(description="the person's sound: 600 tokens a minute at OpenAI")] = 0.0
    image_in: Annotated[PerMillion, Meta(description="pictures")] = 0.0
    cached_text_in: Annotated[PerMillion, Meta(description="text that the server still had")] = 0.0
    cached_audio_in: Annotated[PerMillion, Meta(description="sound that the server still had")] = 0.0
    cached_image_in: Annotated[PerMillion, Meta(description="pictures that the server still had")] = 0.0
    text_out: Annotated[PerMillion, Meta(description="the agent's text, with what it thinks")] = 0.0
    audio_out: Annotated[PerMillion, Meta(description="the agent's sound: 1200 tokens a minute at OpenAI")] = 0.0
    per_minute: Annotated[PerMillion, Meta(description="a minute of transcribed sound")] = 0.0


class Budget(Section, frozen=True):
    """The limits of the duration of sessions, and of their cost."""

    # Less would be spent by the first words of the day; null is no limit.

    minutes_per_day: Annotated[
        Annotated[float, Meta(ge=1, le=1440)] | None, Meta(description="minutes of session from midnight to midnight")
    ] = None
    minutes_per_month: Annotated[
        Annotated[float, Meta(ge=1, le=44640)] | None, Meta(description="minutes of session in a calendar month")
    ] = None
    money_per_day: Annotated[
        Annotated[float, Meta(ge=0.01, le=100_000)] | None,
        Meta(description="cost of tokens and minutes from midnight to midnight, in the currency of the prices"),
    ] = None
    money_per_month: Annotated[
        Annotated[float, Meta(ge=0.01, le=100_000)] | None, Meta(description="likewise, in a calendar month")
    ] = None
    currency: Annotated[Text, Meta(description="the currency of all prices, as it is shown")] = "USD"
    minute_price: Annotated[
        Annotated[float, Meta(ge=0, le=1000)],
        Meta(description="cost of a minute of session, for providers that bill minutes; OpenAI bills none"),
    ] = 0.0
    prices: Annotated[
        dict[str, Price],
        Meta(description="by the model's name; those of OpenAI are known: docs/privacy-and-cost.md"),
    ] = field(default_factory=dict)
    near_text: Annotated[
        Text | None,
        Meta(description="spoken by the voice of announcements at four fifths of a budget; null: nothing"),
    ] = "Most of the talking time is used up."
    spent_text: Annotated[
        Text | None,
        Meta(
            description="spoken by the local voice (announce.local_voice), or else by that of announcements, when a "
            "budget is spent; null: nothing"
        ),
    ] = "The talking time is used up."
    no_credit_text: Annotated[
        Text | None,
        Meta(
            description="spoken by the local voice when the agent does not answer because the account has no credit; "
            "null: nothing"
        ),
    ] = "The agent's account has no credit left."


class QuietHours(Section, frozen=True):
    """A period of the day in which speech wakes nobody."""

    from_: Annotated[TimeOfDay, Meta(description="the beginning, in local time")] = field(default="22:00", name="from")
    to: Annotated[
        TimeOfDay, Meta(description="the end, in local time; if it is before the beginning: on the next day")
    ] = "07:00"
    days: Annotated[list[Day], Meta(description="the days on which it begins")] = field(
        default_factory=lambda: list(EVERY_DAY)
    )


class Debug(Section, frozen=True):
    """For finding faults."""

    record: Annotated[
        bool, Meta(description="whether utterances are recorded, as WAV files in recordings in the state directory")
    ] = False
    record_files: Annotated[
        int, Meta(ge=1, le=10000, description="number of recordings that are kept, the newest ones")
    ] = 50
    record_mb: Annotated[
        float, Meta(ge=1, le=10000, description="megabytes of recordings that are kept, the newest ones")
    ] = 50.0


class Transcript(Section, frozen=True):
    """A log of what was said, for your own use: docs/privacy-and-cost.md."""

    enabled: Annotated[bool, Meta(description="whether a transcript is written")] = False
    directory: Annotated[
        Text | None, Meta(description="the folder; null: transcripts in the daemon's state directory")
    ] = None
    keep_days: Annotated[int, Meta(ge=1, le=3650, description="days after which a file is deleted")] = 30
    # Smaller files would be one for each sentence.
    max_mb: Annotated[float, Meta(ge=0.1, le=1000, description="size in megabytes at which a new file is begun")] = 5.0
    day_mb: Annotated[
        float, Meta(ge=0.1, le=1000, description="megabytes of one day, after which the rest of the day is not written")
    ] = 10.0
    total_mb: Annotated[
        float, Meta(ge=1, le=100_000, description="megabytes of all days, beyond which the oldest file is deleted")
    ] = 100.0
    redact: Annotated[
        list[Text],
        Meta(description="regular expressions; matching text is replaced by [redacted] before it is written"),
    ] = field(default_factory=list)
