"""Builds the release binaries. The same commit gives the same bytes, whatever folder it is built in."""

import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "dist"

# The targets, with the processor's name in Debian and in OCI images; none if there is no such package.
TARGETS = {
    "x86_64-unknown-linux-musl": "amd64",
    "aarch64-unknown-linux-musl": "arm64",
    "x86_64-apple-darwin": None,
    "aarch64-apple-darwin": None,
}
# The suffix of a variant's name, and cargo's flags for it.
VARIANTS = {"": [], "-offline": ["--no-default-features"]}


def read(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def commit() -> str:
    """The commit; with `-changed` where the working tree differs from it."""
    changed = read("git", "status", "--porcelain", "--untracked-files=no")
    return read("git", "rev-parse", "HEAD") + ("-changed" if changed else "")


def time() -> int:
    """The time that everything is dated with, in seconds since 1970: that of the commit, or SOURCE_DATE_EPOCH."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or read("git", "log", "-1", "--format=%ct"))


def missing(target: str, variant: str) -> str | None:
    """Why a target cannot be built here."""
    if not (Path(read("rustc", "--print", "sysroot")) / "lib/rustlib" / target / "lib").is_dir():
        return f"its standard library is missing: `rustup target add {target}`"
    apple = "apple" in target
    if apple and variant == "" and platform.system() != "Darwin" and "SDKROOT" not in os.environ:
        return "TLS on macOS needs Apple's frameworks: build it on a Mac, or set SDKROOT to its SDK"
    return None


def build(target: str, variant: str) -> Path:
    """The binary of a target and a variant."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    sysroot = read("rustc", "--print", "sysroot")
    moved = {str(ROOT): "/seal-secrets", str(home): "/cargo", sysroot: "/rust"}
    flags = [f"--remap-path-prefix={here}={there}" for here, there in moved.items()]
    # With a frame pointer, the tables for unwinding shrink by more than the code grows.
    flags.append("-Cforce-frame-pointers=yes")
    environment = os.environ | {
        # No panic unwinds through C: its functions need no such tables. Without code for AVX, RSA takes half as long again on processors
        # that have it; with it, the binary has 0.4 MB of curves and ciphers that nothing here calls.
        "AWS_LC_SYS_CFLAGS": "-fno-asynchronous-unwind-tables -fno-unwind-tables -DMY_ASSEMBLER_IS_TOO_OLD_FOR_AVX",
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
        "CARGO_TARGET_DIR": str(WORK / f"build{variant}"),
        "SEAL_SECRETS_COMMIT": commit(),
        "SOURCE_DATE_EPOCH": str(time()),
    }
    cargo = ["cargo", "build" if platform.system() == "Darwin" else "zigbuild"]
    command = [*cargo, "--profile", "dist", "--locked", "--bin", "seal-secrets", "--target", target, *VARIANTS[variant]]
    print("+", *command, file=sys.stderr, flush=True)
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    return WORK / f"build{variant}" / target / "dist" / "seal-secrets"
