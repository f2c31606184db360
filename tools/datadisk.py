"""The data disk: how files go into the machine and come out of it.

An ext2 file system whose label is our mark, so that VMkernel mounts it at MOUNT. The workstation
makes it with mke2fs and reads it with debugfs; nothing here needs root.
"""
import os
import shutil
import subprocess
from pathlib import Path

from emu import EmuError

LABEL = "cv:chrono"
MOUNT = "/vmfs/volumes/chrono"
BLOCK = 4096
FREE = 1 << 30                    # bytes for what the machine writes; the image file is sparse


class DataDisk:
    """Collects files in `folder`, and makes the image `folder`/data.img of them."""

    def __init__(self, folder):
        self.tree, self.image = Path(folder) / "data", Path(folder) / "data.img"
        self.tree.mkdir(parents=True, exist_ok=True)

    def put(self, name, source):
        """A file of the workstation as `name` (which may have folders) on the disk."""
        target = self.tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(os.path.realpath(source), target)  # no copy where it can be avoided
        except OSError:
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)

    def write(self, name, text, mode=0o644):
        target = self.tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def make(self, free=FREE):
        """Writes the image; returns its path. The collected files are no longer needed then."""
        used = sum(path.lstat().st_blocks * 512 + BLOCK for path in self.tree.rglob("*"))
        blocks = (used + used // 16 + free) // BLOCK + 1024
        files = sum(1 for _ in self.tree.rglob("*"))
        self.image.unlink(missing_ok=True)
        done = subprocess.run(
            ["/sbin/mke2fs", "-q", "-F", "-t", "ext2", "-b", str(BLOCK), "-m", "0", "-N", str(files + 256),
             "-L", LABEL, "-d", self.tree, self.image, str(blocks)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise EmuError(f"the data disk cannot be made: {done.stdout.strip()}")
        shutil.rmtree(self.tree)
        return self.image

    def get(self, name, target):
        """Copies a file from the image; False: it is not there."""
        return fetch(self.image, name, target)

    def text(self, name):
        """The text of a file of the image, "" where there is none."""
        copy = self.image.with_suffix(".text")
        return copy.read_text(errors="replace") if self.get(name, copy) else ""


def fetch(image, name, target):
    """Copies /name from an ext2 image, mounted cleanly or not; False: it is not there, and `target` stays as it was."""
    part = Path(f"{target}.part")
    part.unlink(missing_ok=True)
    subprocess.run(["/sbin/debugfs", "-R", f'dump "/{name}" "{part}"', image],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    if not part.exists():
        return False
    part.replace(target)
    return True
