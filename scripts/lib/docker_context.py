"""The files that the COPY lines of a Dockerfile take, by the .dockerignore of the context: no engine is needed.

python scripts/lib/docker_context.py CONTEXT DOCKERFILE [TARGET]: one path a line; with TARGET, an empty folder that
stands for the root of the image, they are copied as well.

Only what this checkout uses is understood: COPY without options, and patterns of paths with * and a leading **/.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def copied(context: Path, dockerfile: Path) -> Iterator[tuple[str, str]]:
    """(the path in the context, the path in the image) of each file, sorted."""
    rules = _rules(context / ".dockerignore")
    seen = sorted(path for path in _files(context, rules) if not _is_ignored(path, rules))
    for line in dockerfile.read_text(encoding="utf-8").splitlines():
        if not line.startswith("COPY "):
            continue
        *sources, target = line.split()[1:]
        for source in sources:
            yield from _taken(seen, source, target)


def _taken(seen: list[str], source: str, target: str) -> Iterator[tuple[str, str]]:
    source = source.rstrip("/")
    found = False
    for path in seen:
        if path == source:
            found = True
            yield path, f"{target}{PurePosixPath(path).name}" if target.endswith("/") else target
        elif source == "." or path.startswith(f"{source}/"):
            found = True
            yield path, f"{target.rstrip('/')}/{path if source == '.' else path.removeprefix(f'{source}/')}"
    if not found:
        raise SystemExit(f"docker_context: COPY {source}: the context has no such file")


def _rules(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _files(context: Path, rules: list[str]) -> Iterator[str]:
    """All files but those below an ignored folder that no rule opens again."""
    opened = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for folder, inner, names in os.walk(context):
        paths = {name: (Path(folder) / name).relative_to(context).as_posix() for name in inner}
        inner[:] = [
            name
            for name, path in paths.items()
            if not _is_ignored(path, rules) or any(one.startswith(f"{path}/") for one in opened)
        ]
        for name in names:
            yield (Path(folder) / name).relative_to(context).as_posix()


def _is_ignored(path: str, rules: list[str]) -> bool:
    """The last rule counts that fits the path or a folder above it."""
    above = [path, *(parent.as_posix() for parent in PurePosixPath(path).parents if parent.name)]
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        if any(_fits(one, pattern) for one in above):
            ignored = not rule.startswith("!")
    return ignored


def _fits(path: str, pattern: str) -> bool:
    """`*` stands for no slash."""
    parts, wanted = path.split("/"), pattern.split("/")
    if wanted[0] == "**":
        return any(_fits("/".join(parts[place:]), "/".join(wanted[1:])) for place in range(len(parts)))
    pairs = zip(parts, wanted, strict=False)
    return len(parts) == len(wanted) and all(fnmatch.fnmatchcase(part, one) for part, one in pairs)


def main(context: Path, dockerfile: Path, target: Path | None) -> None:
    for source, place in copied(context, dockerfile):
        print(source)
        if target is not None:
            file = target / place.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(context / source, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
