"""Packs: a recording with everything that its replay needs, in one file.

A zstd-compressed tar archive (tar --zstd -xf opens it): manifest.json first, then the log, the
images, the vmx that recorded it, and files with symbols. Unpacking takes only what the manifest
lists, and only where size and SHA-256 are what it says.
"""
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from emu import EmuError
from guest import sha256
from recording import Recording, side_file

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
FORMAT = 1
MANIFEST_MAX = 1 << 20


def is_pack(path):
    with open(path, "rb") as file:
        return file.read(4) == ZSTD_MAGIC


def pack(log, output, folder, given=(), symbols=()):
    """Writes the pack `output` of a log; `folder` for intermediate files. Returns its size."""
    recording = Recording.open(log, folder, given)
    tree = Path(folder) / "pack"
    tree.mkdir()
    parts = [("log", recording.log, "run.log"), ("vmx", recording.vmx, "vmx")]
    parts += [("image", image.path, f"images/{number}/{image.name}")
              for number, image in enumerate(recording.guest.images)]
    parts += [("symbols", Path(path), f"symbols/{number}/{Path(path).name}")
              for number, path in enumerate([*recording.symbols, *symbols])]
    manifest = {"chronovisor_pack": FORMAT, "options": recording.guest.options,
                "files": [{"role": role, "name": name, "size": path.stat().st_size, "sha256": sha256(path)}
                          for role, path, name in parts]}
    (tree / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for _role, path, name in parts:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(path.resolve())
    names = ["manifest.json"] + [name for _role, _path, name in parts]
    part = Path(f"{output}.part")                       # what is not complete has another name
    try:
        subprocess.run(["tar", "--zstd", "--dereference", "--hard-dereference", "--sparse", "--owner=0", "--group=0",
                        "--numeric-owner", "-C", tree, "-cf", part.absolute(), *names], check=True)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    shutil.rmtree(tree)
    return Path(output).stat().st_size


def unpack(path, folder):
    """Unpacks into `folder` and returns the path of the log, with its LOG.json beside it."""
    target = Path(folder) / "unpacked"
    target.mkdir()
    unzip = subprocess.Popen(["zstd", "-dc", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        with tarfile.open(fileobj=unzip.stdout, mode="r|") as archive:
            manifest = read_manifest(path, archive)
            wanted = {entry["name"]: entry for entry in manifest["files"]}
            for member in archive:
                if member.name in wanted:
                    take(path, archive, member, wanted.pop(member.name), target)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise EmuError(f"{path}: damaged: {error}") from None
    finally:
        unzip.stdout.close()
        unzip.wait()
    if wanted:
        raise EmuError(f"{path}: damaged: {', '.join(wanted)} is missing")
    return lay_out(path, manifest, target)


def read_manifest(path, archive):
    member = archive.next()
    if member is None or member.name != "manifest.json" or member.size > MANIFEST_MAX or not member.isreg():
        raise EmuError(f"{path}: no pack: its first file is not manifest.json")
    try:
        manifest = json.load(archive.extractfile(member))
        if manifest["chronovisor_pack"] > FORMAT:
            raise EmuError(f"{path}: a pack of format {manifest['chronovisor_pack']}; this chrono knows {FORMAT}")
        names = [entry["name"] for entry in manifest["files"]]
        if not all(isinstance(entry["name"], str) and isinstance(entry["sha256"], str) and isinstance(entry["size"], int)
                   and entry["role"] for entry in manifest["files"]):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise EmuError(f"{path}: its manifest.json is damaged") from None
    for name in names:
        if name.startswith("/") or ".." in Path(name).parts:
            raise EmuError(f"{path}: refused: it has a file {name}")
    return manifest


def take(path, archive, member, entry, target):
    if not member.isreg():
        raise EmuError(f"{path}: refused: {member.name} is no ordinary file")
    if member.size != entry["size"]:                    # before any of it is unpacked
        raise EmuError(f"{path}: damaged: {member.name} has another size than the manifest says")
    place = target / member.name
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.extractfile(member) as source, open(place, "wb") as copy:
        shutil.copyfileobj(source, copy)
    if sha256(place) != entry["sha256"]:
        raise EmuError(f"{path}: damaged: {member.name} has another SHA-256 than the manifest says")
    if entry["role"] == "vmx":
        place.chmod(0o755)


def lay_out(path, manifest, target):
    by_role = {}
    for entry in manifest["files"]:
        by_role.setdefault(entry["role"], []).append(entry["name"])
    if "log" not in by_role or "vmx" not in by_role:
        raise EmuError(f"{path}: it has no log, or no vmx")
    log = target / by_role["log"][0]
    side_file(log).write_text(json.dumps({
        "images": by_role.get("image", []), "vmx": by_role["vmx"][0],
        "symbols": by_role.get("symbols", []), "options": manifest.get("options", [])}))
    return log
