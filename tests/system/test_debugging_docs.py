"""docs/debugging.md word by word: its commands are typed, its answers are compared."""
import os
import re
import subprocess

from harness import BUILD, TOP, Failure, machine_test

AREA = "Debugger"
CHAPTER = TOP / "docs/debugging.md"
LIMIT = 240                      # seconds for a command of the shell, gdb's whole session being one of them
PROMPTS = {"sh": "$ ", "gdb": "(gdb) "}


def blocks():
    """(language, [(command, [lines of its answer])]) for each block of the chapter that is typed."""
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", CHAPTER.read_text(), re.MULTILINE | re.DOTALL):
        commands = []
        for line in text.splitlines():
            if line.startswith(PROMPTS[language]):
                commands.append((line.removeprefix(PROMPTS[language]), []))
            else:
                commands[-1][1].append(line)
        yield language, commands


def sessions():
    """The shell's commands in order; to `chrono gdb` belongs what is typed in gdb afterwards."""
    found = []
    for language, commands in blocks():
        if language == "gdb":
            found[-1][2].extend(commands)
        else:
            found += [(command, answer, []) for command, answer in commands if not command.startswith("make")]
    return found


def compare(command, answer, text):
    """Each line of the chapter's answer is part of what was said, in that order."""
    at = 0
    for line in answer:
        at = text.find(line, at)
        if at < 0:
            raise Failure(f"docs/debugging.md, {command!r}: no {line!r} (in this order) in:\n{text}")


def run(command, more, folder):
    words = command.replace("build/guests", str(BUILD / "guests")).split()
    words[0] = str(TOP / "tools/chrono")
    try:
        done = subprocess.run(words + more, cwd=folder, env=dict(os.environ, CHRONO_BUILD=str(BUILD)), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{command!r} did not end within {LIMIT} s:\n{(error.output or b'').decode()}") from None
    return done.stdout.decode(errors="replace")


@machine_test(cost=40)
def word_by_word(lab):
    for command, answer, typed in sessions():
        more = []
        for text, _ in typed:
            more += ["-ex", f"echo (gdb) {text}\\n", "-ex", text]
        said = run(command, (["--batch"] + more) if typed else [], lab.folder)
        compare(command, answer, said)
        for text, wanted in typed:
            _, mark, said = said.partition(f"(gdb) {text}\n")
            if not mark:
                raise Failure(f"docs/debugging.md: gdb did not come to {text!r}")
            compare(text, wanted, said.split("\n(gdb) ")[0])
