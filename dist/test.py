"""`make dist-test`: reads back all that `make dist` and `make airgap` made, and runs it where there is nothing else."""

import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest
from pathlib import Path

import build
import dist
from build import ROOT, VARIANTS, WORK
from dist import SECOND_NAME, VERSION

TARGET = "x86_64-unknown-linux-musl"
LIMITS = {"": 12_000_000, "-offline": 6_000_000}


def archive(variant: str) -> Path:
    return WORK / f"seal-secrets{variant}-{VERSION}-{TARGET}.tar.gz"


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return {entry.name.removeprefix("./"): entry for entry in opened}


class Unpacked(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def unpack(self, path: Path, into: str = "") -> Path:
        target = self.folder / into
        with tarfile.open(path) as opened:
            opened.extractall(target)
        return target

    def alone(self, root: Path, *command: str) -> str:
        """Runs a command where `root` is the whole file system, and there is no network."""
        there = [shutil.which("unshare"), "--net", "--root", str(root), "--wd", "/work", *command]
        environment = {"PATH": "", "XDG_STATE_HOME": "/state"}
        ran = subprocess.run(there, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, f"{command}: {ran.stderr}")
        return ran.stdout

    def works(self, root: Path, binary: str) -> None:
        """Everything offline, from nothing to a value in clear."""
        (root / "work").mkdir(exist_ok=True)
        self.alone(root, binary, "keygen")
        self.assertIn("done: 15 values sealed", self.alone(root, binary, "bootstrap"))
        self.assertIn("every value was opened", self.alone(root, binary, "verify", "--identity", "keys/operator.agekey"))
        opened = self.alone(root, binary, "unseal", "--value", "dex-admin-password").strip()
        self.assertEqual(opened, (root / "work/secrets/dex-admin-password").read_text().strip())
        self.assertIn("passed: everything", self.alone(root, binary, "verify", "--drill"))

    def summed(self, folder: Path) -> None:
        """Each file has the digest that is listed, and each file is listed."""
        listed = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
        found = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink() and path.name != "SHA256SUMS"
        }
        self.assertEqual(listed, found)


class Archives(Unpacked):
    def test_the_binary_runs_in_an_empty_root_without_a_network(self):
        for variant in VARIANTS:
            with self.subTest(variant):
                root = self.folder / f"root{variant}"
                root.mkdir()
                folder = next(self.unpack(archive(variant), f"archive{variant}").iterdir())
                shutil.copy(folder / "seal-secrets", root)
                self.works(root, "/seal-secrets")
                self.assertEqual(sorted(path.name for path in root.iterdir()), ["seal-secrets", "state", "work"])

    def test_the_binary_is_static_small_and_names_no_folder_of_this_machine(self):
        for variant, limit in LIMITS.items():
            with self.subTest(variant):
                content = (next(self.unpack(archive(variant)).glob(f"seal-secrets{variant}-{VERSION}*")) / "seal-secrets").read_bytes()
                self.assertLessEqual(len(content), limit)
                self.assertNotIn(3, segments(content), "it has a program interpreter")
                for here in (str(ROOT), str(Path.home() / ".cargo"), build.read("rustc", "--print", "sysroot")):
                    self.assertNotIn(here.encode(), content)

    def test_version_says_commit_features_and_target(self):
        for variant, features in {"": "cluster", "-offline": "none"}.items():
            folder = next(self.unpack(archive(variant), f"v{variant}").iterdir())
            said = f"seal-secrets {VERSION} (commit {build.commit()}, features {features}, target {TARGET})\n"
            self.assertEqual(dist.said(folder / "seal-secrets", "--version"), said)
            self.assertEqual(dist.said(folder / SECOND_NAME, "-V"), f"seal-secrets {VERSION}\n")

    def test_an_archive_holds_what_it_should(self):
        for variant in VARIANTS:
            folder = next(self.unpack(archive(variant), f"a{variant}").iterdir())
            self.summed(folder)
            for entry in members(archive(variant).read_bytes()).values():
                self.assertEqual((entry.uid, entry.gid, entry.uname, entry.mtime), (0, 0, "", build.time()), entry.name)
            for name in ("README.md", "LICENSE", "helm-plugin/plugin.yaml", "docs/recovery.md"):
                self.assertEqual((folder / name).read_bytes(), (ROOT / name).read_bytes())
            commands = {path.name for path in (folder / "man/man1").iterdir()}
            self.assertLess({"seal-secrets.1", "seal-secrets-bootstrap.1", "seal-secrets-re-encrypt.1", "seal-secrets-escrow-list.1"}, commands)
            self.assertEqual("seal-secrets-doctor.1" in commands, not variant)
            self.assertEqual(sorted(path.name for path in (folder / "completions").iterdir()), sorted(dist.COMPLETIONS.values()))

    def test_the_bill_of_materials_has_every_linked_crate_as_the_lock_file_does(self):
        lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
        locked = {(one["name"], one["version"]): one.get("checksum") for one in lock}
        for variant in VARIANTS:
            folder = next(self.unpack(archive(variant), f"b{variant}").iterdir())
            bill = json.loads((folder / "seal-secrets.cdx.json").read_text())
            self.assertEqual((bill["bomFormat"], bill["specVersion"]), ("CycloneDX", "1.5"))
            required = {(one["name"], one["version"]): one for one in bill["components"] if one["scope"] == "required"}
            linked = {one for one in required if one[0] not in ("musl", "rust-std")}
            names = {name for name, _ in linked}
            self.assertLess({"age", "aws-lc-sys", "clap", "rsa", "zeroize"} | (set() if variant else {"kube", "rustls"}), names)
            self.assertFalse(names & {"ring", "serde_yaml", "proptest", "syn", "cc"} | (names & {"kube", "rustls"} if variant else set()))
            texts = (folder / "LICENSES.txt").read_text()
            for one in linked:
                self.assertEqual(required[one]["hashes"], [{"alg": "SHA-256", "content": locked[one]}])
                self.assertTrue(required[one]["licenses"][0]["expression"])
                self.assertIn(f"{one[0]} {one[1]}: ", texts)

    def test_the_debian_package_is_one(self):
        package = WORK / f"seal-secrets_{VERSION}_amd64.deb"
        fields = build.read("dpkg-deb", "--field", str(package), "Package", "Version", "Architecture")
        self.assertEqual(fields, f"Package: seal-secrets\nVersion: {VERSION}\nArchitecture: amd64")
        subprocess.run(["dpkg-deb", "--extract", package, self.folder / "deb"], check=True)
        subprocess.run(["dpkg-deb", "--control", package, self.folder / "control"], check=True)
        subprocess.run(["md5sum", "--check", "--quiet", self.folder / "control/md5sums"], check=True, cwd=self.folder / "deb")
        self.assertEqual(dist.said(self.folder / f"deb/usr/bin/{SECOND_NAME}", "-V"), f"seal-secrets {VERSION}\n")
        pages = [gzip.decompress(path.read_bytes()) for path in (self.folder / "deb/usr/share/man/man1").iterdir()]
        self.assertTrue(len(pages) > 15 and all(b".TH seal-secrets" in page for page in pages))

    def test_the_image_reads_back(self):
        """As a registry's client does: from the index to each blob, whose digest and size are what was said."""
        layout = self.unpack(WORK / f"seal-secrets-{VERSION}-oci.tar", "oci")
        self.assertEqual(json.loads((layout / "oci-layout").read_text()), {"imageLayoutVersion": "1.0.0"})
        read: set[str] = set()

        def blob(described: dict) -> bytes:
            content = (layout / "blobs/sha256" / described["digest"].removeprefix("sha256:")).read_bytes()
            self.assertEqual((f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)), (described["digest"], described["size"]))
            read.add(described["digest"].removeprefix("sha256:"))
            return content

        (whole,) = json.loads((layout / "index.json").read_text())["manifests"]
        self.assertEqual(whole["annotations"], {"org.opencontainers.image.ref.name": VERSION})
        for image in json.loads(blob(whole))["manifests"]:
            manifest = json.loads(blob(image))
            config = json.loads(blob(manifest["config"]))
            (layer,) = manifest["layers"]
            unpacked = gzip.decompress(blob(layer))
            self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"])
            self.assertEqual(image["platform"], {name: config[name] for name in ("architecture", "os")})
            self.assertEqual(config["config"]["Entrypoint"], ["/seal-secrets"])
            modes = {name: (entry.mode, entry.uid) for name, entry in members(unpacked).items()}
            everybody = {name: (0o1777, 0) for name in ("state", "tmp", "work")}
            self.assertEqual(modes, {"seal-secrets": (0o755, 0), SECOND_NAME: (0o777, 0)} | everybody)
            if config["architecture"] == "amd64":
                (self.folder / "layer.tar").write_bytes(unpacked)
                self.works(self.unpack(self.folder / "layer.tar", "root"), "/seal-secrets")
        self.assertEqual(read, {path.name for path in (layout / "blobs/sha256").iterdir()})

    def test_the_sums_are_of_the_files(self):
        listed = dict(reversed(line.split("  ")) for line in (WORK / "SHA256SUMS").read_text().splitlines())
        self.assertEqual(listed, {name: hashlib.sha256((WORK / name).read_bytes()).hexdigest() for name in listed})
        self.assertLess({archive("").name, archive("-offline").name, f"seal-secrets-{VERSION}-airgap.tar.gz"}, set(listed))


def segments(content: bytes) -> list[int]:
    """The types of an ELF file's segments (elf(5)); 3 names a program interpreter."""
    offset, size, count = *struct.unpack_from("<Q", content, 32), *struct.unpack_from("<HH", content, 54)
    return [struct.unpack_from("<I", content, offset + size * n)[0] for n in range(count)]


class AirGap(Unpacked):
    def setUp(self):
        super().setUp()
        self.bundle = next(self.unpack(WORK / f"seal-secrets-{VERSION}-airgap.tar.gz", "stick").iterdir())

    def test_the_bundle_works_with_nothing_else(self):
        self.summed(self.bundle)
        self.works(self.bundle, "/seal-secrets")

    def test_charts_and_images_are_filled_in_by_the_given_command(self):
        stand_ins = self.folder / "bin"
        stand_ins.mkdir()
        chart = "kind: Deployment\nspec:\n  containers:\n    - image: docker.io/bitnami/sealed-secrets-controller:0.40.0\n"
        for name, script in {
            "helm": f'case $1 in pull) echo "$2" > "$2-1.tgz";; template) printf %s "{chart}";; esac',
            "skopeo": 'case $1 in inspect) echo "docker.io/bitnami/sealed-secrets-controller@sha256:00";; copy) echo "$4" > "${4#oci-archive:}";; esac',
        }.items():
            (stand_ins / name).write_text(f"#!/bin/sh\n{script}\n")
            (stand_ins / name).chmod(0o755)
        before = (self.bundle / "mirror/images.txt").read_text()
        environment = {"PATH": f"{stand_ins}:{os.environ['PATH']}"}
        subprocess.run(["sh", "mirror/fetch.sh"], cwd=self.bundle, check=True, env=environment)
        mirror = self.bundle / "mirror"
        self.assertTrue(before.startswith("#"))
        self.assertEqual((mirror / "images.txt").read_text(), "docker.io/bitnami/sealed-secrets-controller@sha256:00\n")
        self.assertTrue((mirror / "external-secrets-1.tgz").exists() and (mirror / "sealed-secrets-1.tgz").exists())
        self.assertTrue((mirror / "images/docker.io_bitnami_sealed-secrets-controller.tar").exists())
        self.summed(self.bundle)

    def test_it_says_what_to_do(self):
        start = (self.bundle / "START.md").read_text()
        self.assertIn("docker.io/bitnami/sealed-secrets-controller:", start)
        self.assertNotIn("{", start)


class Twice(Unpacked):
    def test_another_folder_gives_the_same_bytes(self):
        other = self.folder / "another-folder-with-a-longer-name"
        subprocess.run(["git", "clone", "--quiet", ROOT, other], check=True)
        self.assertEqual(build.read("git", "status", "--porcelain", "--untracked-files=no"), "", "the clone has what is committed")
        (other / "target").mkdir()
        (other / "target/dist-tools").symlink_to(ROOT / "target/dist-tools")
        subprocess.run([sys.executable, "dist/dist.py", "dist", "airgap"], cwd=other, check=True, env=os.environ | {"TARGETS": TARGET})
        made = other / "target/dist"
        for name in (archive("").name, archive("-offline").name, f"seal-secrets_{VERSION}_amd64.deb", f"seal-secrets-{VERSION}-airgap.tar.gz"):
            self.assertEqual(digest(made / name), digest(WORK / name), name)


class Package(unittest.TestCase):
    def test_cargo_packages_it(self):
        subprocess.run(["cargo", "package", "--locked", "--no-verify", "--quiet", "--allow-dirty"], cwd=ROOT, check=True)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    unittest.main(verbosity=2)
