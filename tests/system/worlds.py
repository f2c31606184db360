"""Programs of tests/worlds: exit status 0 is a pass. First under Linux, then under VMkernel.

Tags in the first lines of the source, all optional:
    /* run: arguments */            /* test: quick | all | soak | none */
    /* limit: 60 */ (seconds)       /* boot: cpus=2 mem=512 emu=qemu */
    /* linux: no */                 it tests what Linux does not do
    /* cost: 3 */                   expected seconds
"""
import re
import subprocess

from harness import BUILD, TOP, Boot, Failure, Test

AREA = "Linux programs"


def tags_of(path):
    head = "\n".join(path.read_text().splitlines()[:12])
    return dict(re.findall(r"^/\* (\w+): (.*?) *\*/", head, re.MULTILINE))


def boot_of(tags):
    settings = dict(word.split("=", 1) for word in tags.get("boot", "").split())
    for number in ("cpus", "mem"):
        if number in settings:
            settings[number] = int(settings[number])
    return Boot(**settings)


def world(path, tags):
    arguments = tags.get("run", "")
    limit = int(tags.get("limit", 60))

    def function(m):
        program = BUILD / "worlds" / path.stem
        if not program.exists():
            raise Failure(f"{program} was not built")
        if tags.get("linux") != "no":
            done = subprocess.run(f"exec {program} {arguments}", shell=True, timeout=limit,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            if done.returncode != 0:
                raise Failure(f"it fails under Linux too, with {done.returncode}:\n"
                              + done.stdout.decode(errors="replace")[-2000:])
        m.check(f"/test/{path.stem} {arguments}", limit=limit)
    return function


def collect():
    found = []
    for path in sorted((TOP / "tests/worlds").glob("*.c")):
        tags = tags_of(path)
        level = tags.get("test", "quick")
        if level != "none":
            found.append(Test(f"world.{path.stem}", "world", world(path, tags), boot_of(tags),
                              level, float(tags.get("cost", 2)), AREA))
    return found
