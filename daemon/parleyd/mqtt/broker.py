"""One connection to the broker, by paho-mqtt, without a thread: its owner waits for the socket, and calls serve().

At most MOST_FLYING messages are under way, or as many as the broker takes at once. The newest text of each retained
topic waits, and the last MOST_EVENTS of all others, so that a broker that hangs costs no more memory than that.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from parleyd.config.mqtt_section import Mqtt
from parleyd.config.secrets import SecretError, resolve
from parleyd.core.errors import UserError
from parleyd.core.text import one_line
from parleyd.host import authorities
from parleyd.host.unreachable import trouble
from parleyd.mqtt.light_paho import client as paho
from parleyd.mqtt.orders import MAX_PAYLOAD_BYTES, Message
from parleyd.mqtt.patience import Failure, Version
from parleyd.mqtt.publications import Publish

MOST_FLYING = 16
MOST_EVENTS = 64
CONNECT_S = 5.0
# The time for the broker's first answer.
GREETING_S = 10.0
KEEP_ALIVE_S = 30
# Its owner looks every second. After more than this it has stood still (SIGSTOP), and the kernel took messages for it.
_STILL_S = 5.0
# Reason codes of MQTT 5, to which paho translates those of 3.1.1.
_BAD_VERSION, _BAD_PASSWORD, _NOT_AUTHORISED, _TAKEN_OVER = 132, 134, 135, 142


class BrokerError(UserError):
    """The connection was not made, or is over. failure: how to go on."""

    hint: str

    def __init__(self, failure: Failure, text: str, hint: str) -> None:
        super().__init__(text, hint)
        self.failure = failure


class Broker:
    """Use open(), then serve() whenever the socket can be read or written, and about once a second; then close().

    last_words: the topic and the text that the broker publishes once it has lost this device. suffix: the end of the
    client's name; a second client with the same name would take the place of the first.
    """

    def __init__(
        self,
        settings: Mqtt,
        device_id: str,
        version: Version,
        subscriptions: Sequence[str],
        last_words: tuple[str, str] | None,
        suffix: str = "",
    ) -> None:
        self._settings = settings
        self._where = f"{settings.host}:{settings.broker_port}"
        self._subscriptions = [(topic, 1) for topic in subscriptions]
        self._waiting: dict[str, Publish] = {}
        self._events: deque[Publish] = deque(maxlen=MOST_EVENTS)
        self._flying: dict[int, str] = {}
        self._most_flying = MOST_FLYING
        self._arrived: list[Message] = []
        self._opened_s = 0.0
        self._looked_s = 0.0
        # The earliest at which what is read now may have come; None: just now.
        self._came_s: float | None = None
        self.failure: BrokerError | None = None
        self.is_ready = False
        self.is_subscribed = False
        self.complaints: list[tuple[str, str]] = []
        is_5 = version == "5"
        self._is_5 = is_5
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"parleyd-{device_id}{suffix}",
            clean_session=None if is_5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        if last_words is not None:
            client.will_set(last_words[0], last_words[1], qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe

    def open(self) -> None:
        """Connects, which takes a few seconds at most, and says who it is. Raises BrokerError."""
        settings, client = self._settings, self._client
        assert settings.host is not None
        if settings.user is not None:
            try:
                # Read anew each time: it may have been corrected.
                client.username_pw_set(settings.user, resolve(settings.password))
            except SecretError as error:
                raise BrokerError(Failure.REFUSED, f"mqtt.password: {error}", error.hint) from None
        if settings.tls.mode == "on":
            client.tls_set_context(_tls(settings))
        properties = None
        if self._is_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = 4 * MAX_PAYLOAD_BYTES
        self._opened_s = self._looked_s = time.monotonic()
        try:
            client.connect(
                settings.host,
                settings.broker_port,
                KEEP_ALIVE_S,
                clean_start=True if self._is_5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=properties,
            )
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> BrokerError:
        found = trouble(error, self._where, "mqtt.host")
        hint = found.hint or "is the broker on, and are mqtt.host and mqtt.port right?"
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError):
            hint = "is mqtt.port the broker's port for TLS, and does it ask for a certificate (mqtt.tls.certificate)?"
        elif isinstance(error, ssl.SSLError) and self._settings.tls.ca is not None:
            hint = f"is mqtt.tls.ca the authority of this broker, and does its certificate name {self._settings.host}?"
        return BrokerError(Failure.REFUSED if found.is_lasting else Failure.UNREACHABLE, found.reason, hint)

    # ------------------------------------------------------------ its owner's loop

    def fileno(self) -> int:
        """Returns -1 if there is no connection any more."""
        found = self._client.socket()
        return -1 if found is None else found.fileno()

    @property
    def wants_write(self) -> bool:
        return self._client.want_write()

    @property
    def has_read(self) -> bool:
        """Whether something was read from the socket already that serve() has not seen yet (TLS)."""
        found = self._client.socket()
        return isinstance(found, ssl.SSLSocket) and found.pending() > 0

    def serve(self, *, readable: bool, writable: bool) -> list[Message]:
        """Returns the messages that have come. Afterwards failure says whether the connection is over."""
        now_s = time.monotonic()
        if not readable:
            self._came_s = None
        elif now_s - self._looked_s > _STILL_S:
            self._came_s = self._looked_s
        self._looked_s = now_s
        if readable:
            self._client.loop_read()
        if writable:
            self._client.loop_write()
        self._client.loop_misc()
        if self.fileno() < 0 and self.failure is None:
            self.failure = BrokerError(Failure.LOST, f"the connection to {self._where} is lost", "see the broker's log")
        if not self.is_ready and self.failure is None and time.monotonic() - self._opened_s > GREETING_S:
            text = f"{self._where} accepts connections and does not answer within {GREETING_S:g} s"
            self.failure = BrokerError(Failure.UNREACHABLE, text, "is it an MQTT broker, and does it run?")
        if self.is_ready:
            self._send()
        arrived, self._arrived = self._arrived, []
        return arrived

    def publish(self, what: Publish) -> None:
        """Sends a message when there is room for it. A message that comes before the connection is ready is not
        kept."""
        if not self.is_ready:
            return
        if what.is_retained:
            self._waiting[what.topic] = what
        else:
            self._events.append(what)
        self._send()

    @property
    def is_idle(self) -> bool:
        """Whether everything that was published has arrived at the broker."""
        return not (self._waiting or self._events or self._flying)

    def close(self) -> None:
        """Says goodbye, so that the broker does not speak the last words, and closes the socket."""
        self._client.disconnect()
        self._client.loop_write()
        found = self._client.socket()
        if found is not None:
            found.close()

    def drop(self) -> None:
        """Closes the socket without a goodbye."""
        found = self._client.socket()
        if found is not None:
            found.close()

    def _send(self) -> None:
        while len(self._flying) < self._most_flying:
            free = next((topic for topic in self._waiting if topic not in self._flying.values()), None)
            if free is not None:
                what = self._waiting.pop(free)
            elif self._events:
                what = self._events.popleft()
            else:
                return
            properties = None
            if self._is_5 and what.correlation is not None:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.CorrelationData = what.correlation
            # Half a character, which UTF-8 does not have, becomes the escape of JSON.
            payload = what.payload.encode(errors="backslashreplace")
            sent = self._client.publish(what.topic, payload, 1, what.is_retained, properties)
            if sent.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            self._flying[sent.mid] = what.topic if what.is_retained else ""

    # ------------------------------------------------------------ paho's callbacks, within serve()

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, more: Any) -> None:
        if reason.is_failure:
            self.failure = self._refusal(reason)
            return
        # A broker of MQTT 5 may take fewer at once, and paho sends more all the same.
        self._most_flying = min(MOST_FLYING, getattr(more, "ReceiveMaximum", MOST_FLYING))
        self.is_ready = True
        self._client.subscribe(self._subscriptions)

    def _refusal(self, reason: ReasonCode) -> BrokerError:
        user = self._settings.user
        text, hint = f"{self._where} refuses: {reason.getName()}", "see the broker's log"
        if reason.value == _BAD_VERSION:
            text, hint = f"{self._where} does not speak this version of MQTT", "set mqtt.protocol to auto"
            return BrokerError(Failure.VERSION, text, hint)
        if reason.value in (_BAD_PASSWORD, _NOT_AUTHORISED) and user is None:
            text, hint = f"{self._where} wants a user and a password", "set mqtt.user and mqtt.password"
        elif reason.value in (_BAD_PASSWORD, _NOT_AUTHORISED):
            text = f"{self._where} does not accept the user {one_line(user or '')} with this password"
            hint = "correct mqtt.user or mqtt.password; another try is made every few minutes"
        return BrokerError(Failure.REFUSED, text, hint)

    def _on_disconnect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        if self.failure is not None:
            return
        if reason.value == _TAKEN_OVER:
            text = f"another client has taken the place of this device at {self._where}"
            hint = (
                "does another device have the same mqtt.device, or a copy of this one's memory card? Give each its own"
            )
            self.failure = BrokerError(Failure.TAKEN_OVER, text, hint)
        elif self.is_ready:
            self.failure = BrokerError(Failure.LOST, f"the connection to {self._where} is lost", "see the broker's log")
        else:
            text = f"{self._where} ends the connection without an answer"
            self.failure = BrokerError(
                Failure.SILENT, text, "is it an MQTT broker? See also mqtt.protocol and mqtt.tls"
            )

    def _on_message(self, _client: object, _data: object, came: paho.MQTTMessage) -> None:
        try:
            topic = came.topic
        except UnicodeDecodeError:
            text = f"{self._where} passes on a message whose topic is not UTF-8, and it is ignored"
            self.complaints.append((text, "see the broker's log for who sends it"))
            return
        more: Any = came.properties
        expires_s = getattr(more, "MessageExpiryInterval", None)
        self._arrived.append(
            Message(
                topic=topic,
                payload=bytes(came.payload),
                at_s=time.monotonic() if self._came_s is None else self._came_s,
                is_retained=came.retain,
                response_topic=getattr(more, "ResponseTopic", None),
                correlation=getattr(more, "CorrelationData", None),
                expires_s=None if expires_s is None else float(expires_s),
            )
        )

    def _on_publish(self, _client: object, _data: object, mid: int, reason: ReasonCode, _more: object) -> None:
        topic = self._flying.pop(mid, "")
        if reason.is_failure:
            text = f"{self._where} does not let this device publish {topic or 'an event or an answer'}"
            self.complaints.append((f"{text}: {reason.getName()}", _ACL))

    def _on_subscribe(
        self, _client: object, _data: object, _mid: int, reasons: list[ReasonCode], _more: object
    ) -> None:
        self.is_subscribed = True
        for (topic, _), reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                self.complaints.append((f"{self._where} does not let this device read {topic}", _ACL))


_ACL = "the broker's list of rights (ACL) has to allow it: docs/mqtt.md"


def _tls(settings: Mqtt) -> ssl.SSLContext:
    """Raises BrokerError."""
    tls = settings.tls
    # The shared context must not be changed.
    is_plain = tls.ca is None and tls.certificate is None
    try:
        if is_plain:
            return authorities.context()
        context = authorities.own_context(tls.ca)
        if tls.certificate is not None:
            # An encrypted key would ask for its password at the terminal.
            context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ValueError) as error:
        named = ", ".join(f"{path}" for path in (tls.ca, tls.certificate, tls.key) if path is not None)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        text = f"the files of mqtt.tls cannot be used ({named}): {one_line(reason)}"
        hint = "they are PEM files that the user of `parleyd mqtt` may read; a key without a password"
        raise BrokerError(Failure.REFUSED, text, hint) from error
    return context
