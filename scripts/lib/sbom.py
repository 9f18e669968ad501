"""Lists what of others is in the Debian package, as CycloneDX 1.6: Python packages with their versions, licences and
the hashes of their wheels, and within them the shared libraries that they bring along.

What is linked into an extension module when its wheel is made cannot be seen from outside, and is not listed.

Run by packaging/debian/rules with what requirements/sbom.lock names. The same input makes the same file:
SOURCE_DATE_EPOCH is its time. It ends with an error when the result does not follow the schema, and when the tree has
a file that none of the listed packages has brought.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from cyclonedx.builder.this import this_component
from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LICENCES = LicenseFactory()
# Extension modules are Python's own; what else ends like this is a library.
_LIBRARY = re.compile(r"\.so(\.\d+)*$")
_EXTENSION = re.compile(r"\.(cpython-[^/]*|abi3)\.so$")
# The package of this project, which the list is about, and what pip writes beside what it installs.
_OWN = re.compile(r"parleyd(-[^/]*\.dist-info)?/|[^/]+\.dist-info/(INSTALLER|REQUESTED)$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, required=True, help="folder of the wheels that were installed")
    parser.add_argument("--tree", type=Path, required=True, help="where they were installed, and stripped")
    parser.add_argument("--lock", type=Path, required=True, help="the lock file they were fetched by")
    parser.add_argument("--version", required=True)
    parser.add_argument("--architecture", required=True)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    known = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", args.lock.read_text()))
    text = sbom(args.wheels, args.tree, known, args.version, args.architecture)
    args.out.write_text(text + "\n")


def sbom(wheels: Path, tree: Path, known: set[str], version: str, architecture: str) -> str:
    """known: the SHA-256 hashes of the lock file. Raises SystemExit where the result does not follow the schema, or
    would not be whole."""
    if strangers := unlisted(wheels, tree):
        sys.exit(f"no listed package has brought these files: {', '.join(strangers[:20])}")
    root = Component(
        name="parleyd",
        version=version,
        type=ComponentType.APPLICATION,
        purl=PackageURL("deb", None, "parleyd", version, {"arch": architecture}),
        bom_ref="parleyd",
        licenses=[LICENCES.make_from_string("Apache-2.0")],
    )
    packages, requirements = [], {}
    for wheel in sorted(wheels.glob("*.whl")):
        component, wanted = of_wheel(wheel, tree, known)
        packages.append(component)
        requirements[canonicalize_name(component.name)] = (component, wanted)
    bom = Bom(components=packages)
    bom.metadata.component = root
    bom.metadata.tools.components.add(this_component())
    bom.metadata.timestamp = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    bom.register_dependency(root, packages)
    for component, wanted in requirements.values():
        bom.register_dependency(component, [requirements[name][0] for name in wanted if name in requirements])
    said = "\n".join([version, architecture, *(str(digest.content) for one in packages for digest in one.hashes)])
    bom.serial_number = uuid5(NAMESPACE_OID, said)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        sys.exit(f"the list does not follow the schema of CycloneDX 1.6: {problem}")
    return text


def of_wheel(wheel: Path, tree: Path, known: set[str]) -> tuple[Component, list[str]]:
    """The package, and the names of those that it needs whatever the extras."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        about = HeaderParser().parsestr(archive.read(metadata).decode())
    name, version = about["Name"], about["Version"]
    digest = sha256(wheel)
    purl = PackageURL("pypi", None, canonicalize_name(name), version)
    source = "the wheel of the lock file" if digest in known else "built here, from the sources of the lock file"
    component = Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        description=about["Summary"] or None,
        licenses=licences(about),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        properties=[Property(name="parleyd:source", value=source)],
    )
    component.components = [
        Component(
            name=Path(path).name,
            type=ComponentType.LIBRARY,
            bom_ref=f"{purl}#{path}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256(tree / path))],
            properties=[Property(name="parleyd:path", value=path)],
        )
        for path in sorted(names)
        if _LIBRARY.search(path) and not _EXTENSION.search(path) and (tree / path).exists()
    ]
    return component, sorted(needed(about))


def unlisted(wheels: Path, tree: Path) -> list[str]:
    """Files of the tree that stand in no wheel."""
    brought = set()
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            # What belongs into the tree from a folder of its own within the wheel.
            brought |= {re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", name) for name in archive.namelist()}
    there = (path.relative_to(tree).as_posix() for path in tree.rglob("*") if not path.is_dir())
    return sorted(path for path in there if path not in brought and not _OWN.match(path))


def needed(about: Message) -> Iterator[str]:
    for text in about.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def licences(about: Message) -> list[License]:
    """What the package says of itself: an SPDX expression, else a short name, else its classifiers."""
    said = about["License-Expression"] or about["License"] or ""
    if said and "\n" not in said and len(said) <= 100:
        return [LICENCES.make_from_string(said)]
    prefix = "License :: OSI Approved :: "
    return [
        LICENCES.make_from_string(classifier.removeprefix(prefix))
        for classifier in about.get_all("Classifier", [])
        if classifier.startswith(prefix)
    ]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
