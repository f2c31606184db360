"""Tests that run on the workstation: unit tests, fuzz targets, tests of the tools."""
import os
import subprocess
import sys

from emu.patience import patience
from harness import BUILD, TOP, Failure, Test

FUZZ_SECONDS = {"quick": 4, "all": 60, "soak": 1800}
LIMIT = 120


def run(command, limit=LIMIT, **more):
    """The command must succeed within the limit."""
    try:
        done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=limit * patience(), check=False, **more)
    except FileNotFoundError:
        raise Failure(f"{command[0]} was not built") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not end within {limit} s") from None
    if done.returncode != 0:
        tail = done.stdout.decode(errors="replace").splitlines()[-40:]
        raise Failure("\n".join([f"{command[0]} ended with {done.returncode}"] + tail))


def unit(name):
    environment = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="stdout",
                       UBSAN_OPTIONS="print_stacktrace=1")
    return lambda level: run([str(BUILD / "unit" / name)], env=environment)


def fuzz(name):
    def function(level):
        seconds = FUZZ_SECONDS[level]
        corpus = TOP / "tests/fuzz/corpus" / name
        found = BUILD / "fuzz" / "found" / name        # new inputs go here, not into the tree
        found.mkdir(parents=True, exist_ok=True)
        folders = [str(found)] + ([str(corpus)] if corpus.is_dir() else [])
        run([str(BUILD / "fuzz" / name), f"-max_total_time={seconds}", "-seed=1", "-timeout=10",
             "-rss_limit_mb=1024", f"-artifact_prefix={BUILD}/fuzz/{name}-", "-print_final_stats=0"]
            + folders, limit=seconds + 60)
    return function


def tool(path):
    return lambda level: run([sys.executable, str(path)])


def collect():
    found = []
    for path in sorted((TOP / "tests/unit").glob("test_*.c")):
        found.append(Test(f"unit.{path.stem[5:]}", "unit", unit(path.stem), None, "quick", 1, "unit"))
    for path in sorted((TOP / "tests/fuzz").glob("fuzz_*.c")):
        found.append(Test(f"fuzz.{path.stem[5:]}", "fuzz", fuzz(path.stem), None, "quick", 4, "fuzz"))
    for path in sorted((TOP / "tests/tools").glob("test_*.py")):
        found.append(Test(f"tools.{path.stem[5:]}", "tools", tool(path), None, "quick", 2, "tools"))
    return found
