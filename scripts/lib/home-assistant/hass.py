"""Home Assistant as a person uses it, by its own interfaces: HTTP for the first steps, then one WebSocket."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import websocket

STEP_S = 0.2
# The first start of Home Assistant makes its database, and takes long on a busy machine.
PATIENCE_S = 180.0
MQTT = {
    "broker": "127.0.0.1",
    "protocol": "5",
    "other_settings": {"set_client_cert": False, "set_ca_cert": "off", "transport": "tcp"},
}
_USER = {"name": "Test", "username": "test", "password": "a password of the test", "language": "en"}


class Hass:
    """address: such as http://127.0.0.1:8123."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = f"{address}/"
        self._token = ""
        # As the page keeps it in the browser after a login.
        self.login: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._line: websocket.WebSocket | None = None

    def begin(self, broker_port: int) -> None:
        """Makes the owner's account, ends the questions of the first start, and sets up MQTT."""
        until(lambda: self._answers("/api/onboarding"), "Home Assistant does not come up")
        made = self._post("/api/onboarding/users", _USER | {"client_id": self._client})
        grant = {"grant_type": "authorization_code", "code": made["auth_code"], "client_id": self._client}
        came = self._post("/auth/token", urllib.parse.urlencode(grant))
        self._token = came["access_token"]
        expires_ms = (time.time() + came["expires_in"]) * 1000
        self.login = came | {"hassUrl": self.address, "clientId": self._client, "expires": expires_ms}
        for question in ("core_config", "analytics"):
            self._post(f"/api/onboarding/{question}", {})
        self._post("/api/onboarding/integration", {"client_id": self._client, "redirect_uri": self._client})
        self.wait_until_it_runs()
        self.add("mqtt", MQTT | {"port": broker_port})

    def add(self, integration: str, answers: dict[str, Any]) -> str:
        """Sets up an integration that asks for one page of answers. Returns the id of its entry."""
        flow = self._post("/api/config/config_entries/flow", {"handler": integration})
        done = self._post(f"/api/config/config_entries/flow/{flow['flow_id']}", answers)
        assert done["type"] == "create_entry", done
        return str(done["result"]["entry_id"])

    def forget(self, entry: str) -> None:
        """Removes an integration that was set up."""
        self._http(urllib.request.Request(f"{self.address}/api/config/config_entries/entry/{entry}", method="DELETE"))

    def wait_until_it_runs(self) -> None:
        def runs() -> bool:
            with contextlib.suppress(OSError):
                return bool(self._get("/api/config")["state"] == "RUNNING")
            return False

        until(runs, "Home Assistant does not finish its start")

    def _answers(self, path: str) -> bool:
        with contextlib.suppress(OSError):
            self._get(path)
            return True
        return False

    def _get(self, path: str) -> Any:
        return self._http(urllib.request.Request(self.address + path))

    def _post(self, path: str, body: dict[str, Any] | str) -> Any:
        """body: a form, if it is a text."""
        kind = "application/x-www-form-urlencoded" if isinstance(body, str) else "application/json"
        data = body if isinstance(body, str) else json.dumps(body)
        headers = {"Content-Type": kind}
        return self._http(urllib.request.Request(self.address + path, data.encode(), headers))

    def _http(self, request: urllib.request.Request) -> Any:
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    # ------------------------------------------------------------ the WebSocket

    def ask(self, what: str, **fields: Any) -> Any:
        answer = self._answer(what, fields)
        assert answer["success"], answer
        return answer["result"]

    def _answer(self, what: str, fields: dict[str, Any]) -> dict[str, Any]:
        if self._line is None:
            self._line = websocket.create_connection(self.address.replace("http", "ws", 1) + "/api/websocket")
            self._line.settimeout(60)
            self._line.recv()
            self._line.send(json.dumps({"type": "auth", "access_token": self._token}))
            assert json.loads(self._line.recv())["type"] == "auth_ok"
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "type": what} | fields))
        answer: dict[str, Any] = {}
        while answer.get("id") != number or answer["type"] != "result":
            answer = json.loads(self._line.recv())
        return answer

    def restart(self) -> None:
        # The line may end before the answer has come.
        with contextlib.suppress(OSError, ValueError, websocket.WebSocketException):
            self.ask("call_service", domain="homeassistant", service="restart")
        # The page of the first start is not there any more.
        until(lambda: not self._answers("/api/"), "Home Assistant does not end")
        self.wait_until_it_is_back()

    def wait_until_it_is_back(self) -> None:
        """After its process has ended."""
        if self._line is not None:
            self._line.close()
        self._line = None
        until(lambda: self._answers("/api/"), "Home Assistant does not come back")
        self.wait_until_it_runs()

    def device(self, name: str) -> dict[str, Any] | None:
        found = self.ask("config/device_registry/list")
        return next((one for one in found if name in (one["name"], one["name_by_user"])), None)

    def entities(self, device: str) -> dict[str, dict[str, Any]]:
        """Returns, by the name of each entity, what Home Assistant has noted of it, with `state` and `attributes`."""
        found = self.device(device)
        if found is None:
            return {}
        states = {one["entity_id"]: one for one in self.ask("get_states")}
        return {
            one["original_name"]: one | states.get(one["entity_id"], {"state": None, "attributes": {}})
            for one in self.ask("config/entity_registry/list")
            if one["device_id"] == found["id"]
        }

    def use(self, service: str, entity: str, **data: Any) -> None:
        error = self.error(service, entity, **data)
        assert error is None, error

    def error(self, service: str, entity: str, **data: Any) -> str | None:
        """Does the action. Returns what the person is told if it fails; None: it did not."""
        domain, _, name = service.partition(".")
        asked = {"domain": domain, "service": name, "service_data": data, "target": {"entity_id": entity}}
        answer = self._answer("call_service", asked)
        return None if answer["success"] else str(answer["error"]["message"])

    @property
    def token(self) -> str:
        """The one that a person has; it is good for half an hour, and a long-lived one is used in the same way."""
        return self._token

    def expose(self, entity: str) -> None:
        """To sentences, as a person does in Settings, Voice assistants."""
        self.ask("homeassistant/expose_entity", assistants=["conversation"], entity_ids=[entity], should_expose=True)

    def state(self, entity: str) -> str | None:
        return next((str(one["state"]) for one in self.ask("get_states") if one["entity_id"] == entity), None)

    def remove(self, device: str) -> None:
        found = self.device(device)
        assert found is not None
        self.ask("config/device_registry/remove", device_id=found["id"])


def until(done: Callable[[], bool], otherwise: str, patience_s: float = PATIENCE_S) -> None:
    last_s = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < last_s, otherwise
        time.sleep(STEP_S)
