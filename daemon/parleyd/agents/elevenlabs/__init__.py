"""ElevenLabs Agents over WebSocket: typed messages, a pure codec, address and authentication, how sessions end."""
