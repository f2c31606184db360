"""Programs of tests/worlds: exit status 0 is a pass. First under Linux, then under VMkernel.

Each runs on one of the machines below in make test, the programs taking turns, and on all of them
in make test-all. Tags in the first lines of the source, all optional:
    /* run: arguments */            /* test: quick | all | soak | none */
    /* limit: 240 */ (seconds)      /* boot: cpus=2 mem=512 emu=qemu */ the machine of make test
    /* linux: no */                 it tests what Linux does not do
    /* vtx: yes */                  it makes virtual machines: QEMU here has no VT-x to offer
    /* cost: 3 */                   expected seconds
"""
import re
import subprocess
import tempfile

from emu.patience import patience
from harness import BUILD, TOP, Boot, Failure, Test

AREA = "Linux programs"
MACHINES = [Boot(emu="bochs"), Boot(emu="bochs", cpus=2), Boot(emu="qemu", cpus=4)]


def tags_of(path):
    head = "\n".join(path.read_text().splitlines()[:12])
    return dict(re.findall(r"^/\* (\w+): (.*?) *\*/", head, re.MULTILINE))


def boot_of(tags, number):
    """The machine of make test: that of the tag, else the programs take turns."""
    if "boot" not in tags:
        return MACHINES[number % len(MACHINES)]
    settings = dict(word.split("=", 1) for word in tags.get("boot", "").split())
    for name in ("cpus", "mem"):
        if name in settings:
            settings[name] = int(settings[name])
    return Boot(**settings)


def world(path, tags):
    arguments = tags.get("run", "")
    limit = int(tags.get("limit", 240))     # for programs that hang, on a busy computer

    def function(m):
        program = BUILD / "worlds" / path.stem
        if not program.exists():
            raise Failure(f"{program} was not built")
        if tags.get("linux") != "no":
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:   # for what it leaves there
                done = subprocess.run(f"exec {program} {arguments}", shell=True, cwd=folder,
                                      timeout=limit * patience(), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode != 0:
                raise Failure(f"it fails under Linux too, with {done.returncode}:\n"
                              + done.stdout.decode(errors="replace")[-2000:])
        m.check(f"/test/{path.stem} {arguments}", limit=limit)
    return function


def collect():
    found = []
    for number, path in enumerate(sorted((TOP / "tests/worlds").glob("*.c"))):
        tags = tags_of(path)
        level = tags.get("test", "quick")
        if level == "none":
            continue
        first = boot_of(tags, number)
        if "vtx" in tags and first.emu == "qemu":
            first = MACHINES[0]
        others = [m for m in MACHINES if m != first and not ("vtx" in tags and m.emu == "qemu")]
        for boot in [first] + others:
            name = f"world.{path.stem}@{boot.emu}-{boot.cpus}"
            found.append(Test(name, "world", world(path, tags), boot,
                              level if boot == first or level != "quick" else "all",
                              float(tags.get("cost", 2)), AREA))
    return found
