"""Archives that are the same whenever and wherever they are made: names sorted, owner 0, one time, no name of a host."""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass

# A folder's files, by path.
Tree = dict[str, "File"]


@dataclass(frozen=True)
class File:
    content: bytes = b""
    mode: int = 0o644
    # A symbolic link's target.
    link: str = ""

    @staticmethod
    def text(text: str) -> "File":
        return File(text.encode())

    @staticmethod
    def program(content: bytes) -> "File":
        return File(content, 0o755)


def tar(tree: Tree, time: int, folders: dict[str, int] | None = None, dot: bool = False) -> bytes:
    """An uncompressed tar archive. `folders` has further folders with their modes; `dot` begins each name with `./`, as Debian does."""
    modes = {"": 0o755} if dot else {}
    for path in tree:
        parents = path.split("/")[:-1]
        modes |= {"/".join(parents[:n]): 0o755 for n in range(1, len(parents) + 1)}
    modes |= folders or {}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted({*modes, *tree}):
            entry = tarfile.TarInfo(f"./{path}" if dot else path)
            entry.mtime = time
            if path in modes:
                entry.type, entry.mode = tarfile.DIRTYPE, modes[path]
                archive.addfile(entry)
            elif tree[path].link:
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, tree[path].link, 0o777
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(tree[path].content), tree[path].mode
                archive.addfile(entry, io.BytesIO(tree[path].content))
    return out.getvalue()


def squeeze(content: bytes) -> bytes:
    """As `gzip -n -9`."""
    return gzip.compress(content, 9, mtime=0)


def deb(control: str, data: Tree, time: int) -> bytes:
    """A Debian package: an `ar` archive of its format's version, what describes it, and its files (deb(5))."""
    sums = "".join(f"{hashlib.md5(file.content).hexdigest()}  {path}\n" for path, file in sorted(data.items()) if not file.link)
    described = {"control": File.text(control), "md5sums": File.text(sums)}
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": squeeze(tar(described, time, dot=True)),
        "data.tar.gz": squeeze(tar(data, time, dot=True)),
    }
    out = b"!<arch>\n"
    for name, content in members.items():
        out += f"{name:<16}{time:<12}{0:<6}{0:<6}{0o100644:<8o}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return out


def oci(layers: dict[str, bytes], config: dict, annotations: dict[str, str], stamp: str) -> Tree:
    """An OCI image layout (image-spec 1.1) with one layer for each architecture; `layers` are tar archives."""
    tree: Tree = {"oci-layout": File.text(json.dumps({"imageLayoutVersion": "1.0.0"}))}

    def blob(content: bytes, kind: str) -> dict:
        digest = hashlib.sha256(content).hexdigest()
        tree[f"blobs/sha256/{digest}"] = File(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    def written(value: dict) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    manifests = []
    for architecture, layer in sorted(layers.items()):
        platform = {"architecture": architecture, "os": "linux"}
        diff = f"sha256:{hashlib.sha256(layer).hexdigest()}"
        image = platform | {"created": stamp, "config": config, "rootfs": {"type": "layers", "diff_ids": [diff]}}
        manifest = {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "annotations": annotations,
            "config": blob(written(image), "config.v1+json"), "layers": [blob(squeeze(layer), "layer.v1.tar+gzip")],
        }  # fmt: skip
        manifests.append(blob(written(manifest), "manifest.v1+json") | {"platform": platform})
    kind = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests, "annotations": annotations}
    whole = blob(written(index), "index.v1+json")
    whole["annotations"] = {"org.opencontainers.image.ref.name": annotations["org.opencontainers.image.version"]}
    tree["index.json"] = File(written({"schemaVersion": 2, "mediaType": kind, "manifests": [whole]}))
    return tree
