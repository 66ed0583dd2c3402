"""`make dist` and `make airgap`: all that is released, in target/dist."""

import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import bill
import build
import pack
from build import ROOT, TARGETS, VARIANTS, WORK
from pack import File, Tree

HERE = Path(__file__).resolve().parent
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
ABOUT = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["description"]
COMPLETIONS = {"bash": "seal-secrets.bash", "zsh": "_seal-secrets", "fish": "seal-secrets.fish"}
# kubectl runs it as `kubectl seal-secrets`.
SECOND_NAME = "kubectl-seal_secrets"
AIRGAP = "x86_64-unknown-linux-musl"


def said(binary: Path, *args: str) -> str:
    environment = {"XDG_STATE_HOME": "/nonexistent", "PATH": os.environ["PATH"]}
    return subprocess.run([binary, *args], check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def own_target() -> str:
    """The target whose binaries run here."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return f"{machine}-apple-darwin" if platform.system() == "Darwin" else f"{machine}-unknown-linux-musl"


def pages(binary: Path, *command: str) -> Tree:
    """The manual pages of a command and of those below it."""
    page, name = said(binary, "man", *command), "-".join(["seal-secrets", *command])
    found = {f"{name}.1": File.text(page)}
    listed = re.escape(name.replace("-", r"\-"))
    for below in re.findall(rf"^{listed}\\-([a-z\\-]+)\(1\)", page, re.M):
        if below != "help":
            found |= pages(binary, *command, below.replace("\\", ""))
    return found


def texts(binary: Path) -> Tree:
    """Completions and manual pages, from a binary that runs here."""
    tree = {f"man/man1/{name}": page for name, page in pages(binary).items()}
    return tree | {f"completions/{name}": File.text(said(binary, "completions", shell)) for shell, name in COMPLETIONS.items()}


def documents(target: str, variant: str) -> Tree:
    tree = {name: File((ROOT / name).read_bytes()) for name in ("README.md", "CHANGELOG.md", "THREAT_MODEL.md", "LICENSE")}
    for path in sorted([*(ROOT / "docs").rglob("*"), *(ROOT / "helm-plugin").rglob("*")]):
        if path.is_file():
            tree[str(path.relative_to(ROOT))] = File(path.read_bytes())
    tree["LICENSES.txt"] = File.text(bill.licences(target, variant))
    tree["seal-secrets.cdx.json"] = File.text(bill.bill(target, variant))
    return tree


def summed(tree: Tree) -> Tree:
    """With the digests of all files, as `sha256sum --check` reads them."""
    lines = [f"{hashlib.sha256(file.content).hexdigest()}  {path}\n" for path, file in sorted(tree.items()) if not file.link]
    return tree | {"SHA256SUMS": File.text("".join(lines))}


def below(folder: str, tree: Tree) -> Tree:
    return {f"{folder}/{path}": file for path, file in tree.items()}


def write(name: str, content: bytes) -> None:
    (WORK / name).write_bytes(content)
    print(f"target/dist/{name}: {len(content) / 1e6:.1f} MB")


def debian(tree: Tree, architecture: str, time: int) -> bytes:
    doc = "usr/share/doc/seal-secrets"
    data: Tree = {
        "usr/bin/seal-secrets": tree["seal-secrets"],
        f"usr/bin/{SECOND_NAME}": tree[SECOND_NAME],
        "usr/share/bash-completion/completions/seal-secrets": tree["completions/seal-secrets.bash"],
        "usr/share/zsh/vendor-completions/_seal-secrets": tree["completions/_seal-secrets"],
        "usr/share/fish/vendor_completions.d/seal-secrets.fish": tree["completions/seal-secrets.fish"],
        "usr/share/seal-secrets/helm-plugin/plugin.yaml": tree["helm-plugin/plugin.yaml"],
        f"{doc}/copyright": File(tree["LICENSE"].content + b"\n\n" + tree["LICENSES.txt"].content),
        f"{doc}/changelog.gz": File(pack.squeeze(tree["CHANGELOG.md"].content)),
    }
    for path, file in tree.items():
        if path.startswith("man/"):
            data[f"usr/share/{path}.gz"] = File(pack.squeeze(file.content))
        elif path.startswith("docs/") or path in ("README.md", "THREAT_MODEL.md", "seal-secrets.cdx.json"):
            data[f"{doc}/{path}"] = file
    size = sum(len(file.content) for file in data.values()) // 1024
    control = f"""Package: seal-secrets
Version: {VERSION}
Architecture: {architecture}
Maintainer: the authors of seal-secrets <seal-secrets@localhost>
Installed-Size: {size}
Section: admin
Priority: optional
Suggests: age, git, kubectl
Description: {ABOUT}
 One static binary. It seals to a sealed-secrets certificate, and writes the
 store from which the External Secrets Operator reads.
"""
    return pack.deb(control, data, time)


def image(binaries: dict[str, File], time: int) -> bytes:
    """The image from scratch, as a tar archive of an OCI layout."""
    # Any user that it runs as may write to what is mounted there; /state remembers the accepted certificates.
    folders = {"tmp": 0o1777, "state": 0o1777, "work": 0o1777}
    second = {SECOND_NAME: File(link="seal-secrets")}
    layers = {name: pack.tar({"seal-secrets": file} | second, time, folders) for name, file in binaries.items()}
    config = {
        "Entrypoint": ["/seal-secrets"], "WorkingDir": "/work", "User": "65532:65532",
        "Env": ["PATH=/", "XDG_STATE_HOME=/state"], "Volumes": {"/state": {}},
    }  # fmt: skip
    named = {"title": "seal-secrets", "description": ABOUT, "version": VERSION, "revision": build.commit(), "licenses": "Apache-2.0"}
    annotations = {f"org.opencontainers.image.{name}": value for name, value in named.items()}
    return pack.tar(pack.oci(layers, config, annotations, bill.stamp()), time)


def offer(target: str, variant: str, binary: Path, shared: Tree) -> Tree:
    """What an archive holds, without its digests."""
    program = {"seal-secrets": File.program(binary.read_bytes()), SECOND_NAME: File(link="seal-secrets")}
    return program | shared | documents(target, variant)


def dist() -> None:
    for old in archives():
        old.unlink()
    time = build.time()
    images: dict[str, File] = {}
    for variant in VARIANTS:
        shared: Tree = texts(build.build(own_target(), variant))
        for target in os.environ.get("TARGETS", "").split() or TARGETS:
            if why := build.missing(target, variant):
                print(f"skipped {target}{variant}: {why}")
                continue
            tree = offer(target, variant, build.build(target, variant), shared)
            name = f"seal-secrets{variant}-{VERSION}-{target}"
            write(f"{name}.tar.gz", pack.squeeze(pack.tar(below(name, summed(tree)), time)))
            debian_name = TARGETS[target]
            if debian_name and not variant:
                images[debian_name] = tree["seal-secrets"]
                write(f"seal-secrets_{VERSION}_{debian_name}.deb", debian(tree, debian_name, time))
    if images:
        write(f"seal-secrets-{VERSION}-oci.tar", image(images, time))
    sums()


def runbook(binary: Path) -> tuple[str, str]:
    """What INSTALL.md says of charts and images: its table, and the commands that fetch them."""
    with tempfile.TemporaryDirectory() as folder:
        for command in ("keygen", "bootstrap"):
            environment = {"XDG_STATE_HOME": f"{folder}/state", "PATH": ""}
            subprocess.run([binary, command], cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)
        text = (Path(folder) / "out/INSTALL.md").read_text()
    need, without = text.split("## 0. ")[1].split("## 1. ")[0].split("**Without a network**")
    table = "\n".join(line for line in need.splitlines() if line.startswith("|"))
    return table, without.split("```sh\n")[1].split("```")[0]


def airgap() -> None:
    """One archive for a machine that no network reaches."""
    time = build.time()
    binary = build.build(AIRGAP, "")
    table, fetch = runbook(binary)
    tree = offer(AIRGAP, "", binary, texts(binary))
    for path in sorted((HERE / "airgap").rglob("*")):
        text = path.read_text().replace("{version}", VERSION).replace("{table}", table).replace("{fetch}\n", fetch)
        tree[path.name if path.name == "START.md" else f"mirror/{path.name}"] = File(text.encode(), 0o755 if path.suffix == ".sh" else 0o644)
    name = f"seal-secrets-{VERSION}-airgap"
    write(f"{name}.tar.gz", pack.squeeze(pack.tar(below(name, summed(tree)), time)))
    sums()


def archives() -> list[Path]:
    return sorted(path for path in WORK.glob("seal-secrets*") if path.is_file())


def sums() -> None:
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in archives()]
    write("SHA256SUMS", "".join(lines).encode())


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    for what in sys.argv[1:]:
        {"dist": dist, "airgap": airgap}[what]()
