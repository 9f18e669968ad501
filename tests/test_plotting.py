"""matplotlib's own words are no part of an answer."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import parleyd

STUB = """
import logging, warnings
warnings.warn("Unable to import Axes3D. This may be due to multiple versions of Matplotlib being installed")
logging.getLogger("matplotlib").warning("created a temporary cache directory")
def use(_): pass
"""


def test_a_talkative_matplotlib_is_not_heard(tmp_path: Path) -> None:
    package = tmp_path / "matplotlib"
    package.mkdir()
    (package / "__init__.py").write_text(STUB)
    (package / "pyplot.py").write_text("import warnings\ndef savefig(): warnings.warn('Glyph missing from font')\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from parleyd.tuning import plotting\n"
        "with plotting.pyplot() as pyplot: pyplot.savefig()\n"
        "import warnings; warnings.warn('somebody else')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "somebody else" in done.stderr
    assert "Axes3D" not in done.stderr
    assert "Glyph" not in done.stderr
    assert "cache" not in done.stderr


def test_there_is_one_place_that_imports_it() -> None:
    root = Path(parleyd.__file__).parent
    importing = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "matplotlib" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "matplotlib")
    }
    assert importing == {"tuning/plotting.py"}
