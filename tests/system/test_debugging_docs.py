"""docs/debugging.md word by word: its commands are typed, its answers are compared."""
import os
import re
import subprocess

from emu.patience import patience
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


def differences(command, answer, text):
    """Each line of the chapter's answer is part of what was said, in that order; sentences where not."""
    at = 0
    for line in answer:
        found = text.find(line, at)
        if found < 0:
            yield f"docs/debugging.md, {command!r}: no {line!r} (in this order) in:\n{text}"
        else:
            at = found


def run(command, more, folder):
    words = command.replace("build/guests", str(BUILD / "guests")).split()
    words[0] = str(TOP / "tools/chrono")
    try:
        done = subprocess.run(words + more, cwd=folder, env=dict(os.environ, CHRONO_BUILD=str(BUILD)), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT * patience(), check=False)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{command!r} did not end within {LIMIT} s:\n{(error.output or b'').decode()}") from None
    return done.stdout.decode(errors="replace")


@machine_test(level="all", cost=60)
def word_by_word(lab):
    wrong = []
    for command, answer, typed in sessions():
        more = []
        for text, _ in typed:
            more += ["-ex", f"echo (gdb) {text}\\n", "-ex", text]
        said = run(command, (["--batch"] + more) if typed else [], lab.folder)
        wrong += differences(command, answer, said)
        for text, wanted in typed:
            _, mark, said = said.partition(f"(gdb) {text}\n")
            if not mark:
                raise Failure("\n".join(wrong + [f"docs/debugging.md: gdb did not come to {text!r}"]))
            wrong += differences(text, wanted, said.split("\n(gdb) ")[0])
    if wrong:
        raise Failure("\n".join(wrong))
