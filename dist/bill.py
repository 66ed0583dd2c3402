"""What a binary is made of: its bill of materials (CycloneDX 1.5) and the licences of all its parts, from `cargo metadata`."""

import json
import re
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path

from build import ROOT, VARIANTS, read, time

LICENCE = re.compile(r"(?i)^(un)?(licen[cs]e|copying|copyright|notice)")


def packages(target: str, variant: str) -> tuple[dict, list[tuple[dict, bool]]]:
    """The program's package, and all others with whether they are linked, or only run while it is built."""
    metadata = json.loads(read("cargo", "metadata", "--format-version=1", "--locked"))
    by_name = {(package["name"], package["version"]): package for package in metadata["packages"]}

    # Unlike `cargo tree`, `cargo metadata` includes optional dependencies that are switched off.
    def tree(edges: str) -> set[tuple[str, str]]:
        command = ["cargo", "tree", "--locked", f"--target={target}", f"--edges={edges}", "--prefix=none", "--format={p}", *VARIANTS[variant]]
        words = (line.split() for line in read(*command).splitlines())
        return {(name, version.removeprefix("v")) for name, version, *_ in words}

    root = next(package for package in metadata["packages"] if package["id"] == metadata["resolve"]["root"])
    linked = tree("normal,no-proc-macro")
    others = sorted(tree("normal,build") - {(root["name"], root["version"])})
    return root, [(by_name[one], one in linked) for one in others]


def below(target: str) -> list[tuple[str, str, str, list[str]]]:
    """What is linked though no lock file lists it: names, versions, licences and their texts."""
    texts = [standard("MIT"), standard("Apache-2.0")]
    found = [("rust-std", read("rustc", "--version").split()[1], "MIT OR Apache-2.0", texts)]
    if "musl" in target:
        musl = next(ROOT.glob("target/dist-tools/lib/python*/site-packages/ziglang/lib/libc/musl"))
        # zig ships no VERSION file of musl; zig and Rust use this version.
        found.append(("musl", "1.2.5", "MIT", [(musl / "COPYRIGHT").read_text().strip()]))
    return found


def bill(target: str, variant: str) -> str:
    """The bill of materials, in JSON."""
    root, others = packages(target, variant)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    digests = {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}
    components = [component(one, linked, digests) for one, linked in others]
    for name, version, licence, _ in below(target):
        components.append({
            "type": "library", "bom-ref": f"pkg:generic/{name}@{version}", "name": name, "version": version,
            "scope": "required", "licenses": [{"expression": licence}], "purl": f"pkg:generic/{name}@{version}",
        })  # fmt: skip
    components.sort(key=lambda one: (one["name"], one["version"]))
    itself = component(root, True, digests) | {"type": "application"}
    del itself["scope"]
    itself["properties"] = [{"name": "target", "value": target}, {"name": "features", "value": "none" if variant else "cluster"}]
    # Derived from the content, so that two builds give the same number.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([itself, components]))
    written = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "serialNumber": f"urn:uuid:{serial}",
        "metadata": {"timestamp": stamp(), "component": itself}, "components": components,
    }  # fmt: skip
    return json.dumps(written, indent=2, ensure_ascii=False) + "\n"


def stamp() -> str:
    return datetime.fromtimestamp(time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def component(package: dict, linked: bool, digests: dict) -> dict:
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    digest = digests.get((name, version))
    return {
        "type": "library", "bom-ref": purl, "name": name, "version": version,
        # CycloneDX's word for parts that are not in the binary.
        "scope": "required" if linked else "excluded",
        **({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}),
        "licenses": [{"expression": expression(package)}], "purl": purl,
    }  # fmt: skip


def expression(package: dict) -> str:
    # Older crates write OR as a slash.
    return (package["license"] or "").replace("/", " OR ").replace("  ", " ")


def licences(target: str, variant: str) -> str:
    """The licences of everything that is linked: each text once, under the crates that have it."""
    _, others = packages(target, variant)
    having: dict[str, list[str]] = {}
    rows: list[str] = []
    for one in (one for one, linked in others if linked):
        label = f"{one['name']} {one['version']}"
        rows.append(f"{label}: {expression(one)}" + (f" ({', '.join(one['authors'])})" if one["authors"] else ""))
        for text in texts(one, label):
            having.setdefault(text, []).append(label)
    for name, version, licence, its in below(target):
        rows.append(f"{name} {version}: {licence}")
        for text in its:
            having.setdefault(text, []).append(f"{name} {version}")
    line = "=" * 80
    parts = sorted((", ".join(sorted(set(labels))), text) for text, labels in having.items())
    body = "".join(f"\n{line}\n{labels}\n{line}\n\n{text}\n" for labels, text in parts)
    return "What is linked into this binary, under which licence.\n\n" + "".join(f"{row}\n" for row in sorted(rows)) + body


def texts(package: dict, label: str) -> list[str]:
    """The texts that come with a crate; where none does, the common text of a licence that it names."""
    files = [path for path in Path(package["manifest_path"]).parent.rglob("*") if LICENCE.match(path.name) and path.is_file()]
    found = [path.read_text(errors="replace").strip() for path in sorted(files) if path.suffix != ".rs"]
    named = [name for name in ("Apache-2.0", "MIT", "ISC") if name in expression(package)]
    if not found and not named:
        raise SystemExit(f"{label} has no text of its licence, {expression(package)}: find it, or do without the crate")
    return found or [standard(named[0])]


def standard(name: str) -> str:
    return (Path(read("rustc", "--print", "sysroot")) / f"share/doc/rust/licenses/{name}.txt").read_text().strip()
