"""The names of topics, events and states, and who the device is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from parleyd.config.mqtt_section import GROUP, Mqtt

# Home Assistant's words for its own voice devices, so that automations for those fit; and two more.
STATES = ("idle", "listening", "processing", "responding", "connecting", "offline")
# The events of the control socket that are published, with those of their fields that contain no words of the room.
EVENTS: dict[str, tuple[str, ...]] = {
    "woken": ("by",),
    "wake_refused": ("by", "reason"),
    "barged_in": ("by", "heard_ms"),
    "budget_near": ("period", "left_s", "left_money", "currency"),
    "budget_spent": ("reason",),
    "fallback_began": ("reason",),
    "fallback_over": (),
    "timer_went_off": ("number", "late_s"),
    "tool_called": ("name",),
    "approval_wanted": ("service", "name"),
    "confirmation_wanted": ("name",),
    "device_lost": ("which", "name", "cause"),
    "device_back": ("which", "name", "away_s"),
}
ONLINE, OFFLINE = "online", "offline"
# Whose settings are meant, where they are not those of a group.
DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Device:
    """id: the name of the device in topics. name: its name for people. announces: the daemon has a voice for
    announcements. has_money: the use is counted in money, too."""

    id: str
    name: str
    version: str
    announces: bool = True
    has_money: bool = False


class Topics:
    """The topics of one device."""

    def __init__(self, settings: Mqtt, device: Device) -> None:
        base = f"{settings.topic_prefix}/{device.id}"
        self.prefix = settings.topic_prefix
        self.online = f"{base}/online"
        self.state = f"{base}/state"
        self.figures = f"{base}/figures"
        self.troubles = f"{base}/troubles"
        self.event = f"{base}/event"
        self.heard = f"{base}/heard"
        self.answer = f"{base}/answer"
        self.result = f"{base}/result"
        self.orders = f"{base}/do/"
        self.reported = f"{base}/config/reported"
        self.groups = tuple(settings.groups)
        self._usage = f"{base}/usage"
        self._settings = settings
        self._group_orders = {f"{settings.topic_prefix}/{GROUP}/{name}/do/": name for name in settings.groups}
        # Topic of kept settings → whose settings they are; of two that set one key, the later in this order counts.
        self.desired: dict[str, str] = {}
        if settings.settings == "on":
            self.desired = {
                f"{settings.topic_prefix}/{GROUP}/{name}/config/desired": f"{GROUP}/{name}" for name in settings.groups
            }
            self.desired[f"{base}/config/desired"] = DEVICE
        self.discovery: str | None = None
        self.home_assistant: str | None = None
        if settings.discovery_prefix is not None:
            self.discovery = f"{settings.discovery_prefix}/device/{device.id}/config"
            self.home_assistant = f"{settings.discovery_prefix}/status"

    @property
    def named(self) -> dict[str, str]:
        """The topics that the device uses with this configuration, by the names that docs/mqtt.md has for them."""
        settings = self._settings
        found = {name: getattr(self, name) for name in ("online", "state", "figures", "troubles", "event")}
        for name, kind in (("heard", "heard"), ("answer", "answers")):
            if settings.texts in (kind, "all"):
                found[name] = getattr(self, name)
        found["result"] = self.result
        if self.discovery is not None:
            found["discovery"] = self.discovery
        if settings.usage_days:
            found["usage/DAY"] = self.usage("DAY")
        if self.desired:
            found["config/reported"] = self.reported
        for topic, whose in self.desired.items():
            found["config/desired" if whose == DEVICE else f"{whose}/config/desired"] = topic
        for command in settings.commands:
            found[f"do/{command}"] = f"{self.orders}{command}"
        for beginning, group in self._group_orders.items():
            found |= {f"{GROUP}/{group}/do/{command}": f"{beginning}{command}" for command in settings.commands}
        return found

    @property
    def subscriptions(self) -> tuple[str, ...]:
        beginnings = (self.orders, *self._group_orders)
        more = (one for one in (self.discovery, self.home_assistant) if one is not None)
        return (*(f"{one}#" for one in beginnings), *self.desired, *more)

    def command(self, topic: str) -> tuple[str, str | None] | None:
        """The command of a topic, and the group to which it goes; None: it is no topic of a command."""
        if topic.startswith(self.orders):
            return topic.removeprefix(self.orders), None
        for beginning, group in self._group_orders.items():
            if topic.startswith(beginning):
                return topic.removeprefix(beginning), group
        return None

    def usage(self, day: str) -> str:
        """day: as 2026-11-29."""
        return f"{self._usage}/{day}"
