"""The tools themselves: symbol table, initial file system, tags, what a console keeps."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))
from emu.console import ESCAPES, clean  # noqa: E402
from emu.keys import qemu_name, split_keys  # noqa: E402
from emu.screen import Screen, load_font  # noqa: E402


def run(*command, text=""):
    done = subprocess.run([str(part) for part in command], input=text, stdout=subprocess.PIPE,
                          cwd=TOP, text=True, check=True)
    return done.stdout


class Ksyms(unittest.TestCase):
    NM = ("0000000000001000 T too_low\nffffffff80100000 T first\nffffffff80100000 t alias\n"
          "ffffffff80100010 t second\nffffffff80200000 D data\n")

    def test_only_functions_once_each(self):
        out = run("tools/ksyms", text=self.NM)
        self.assertIn(".quad 2\n", out)
        self.assertIn('.asciz "first"\n    .asciz "second"', out)
        self.assertNotIn("alias", out)
        self.assertNotIn('"data"', out)

    def test_empty(self):
        self.assertIn(".quad 0\n", run("tools/ksyms", "--empty"))


class Kallsyms(unittest.TestCase):
    LINES = ("ffffffff81000000 T _text\nffffffff81000010 t twice\nffffffff81000020 t twice\n0000000000020c80 A current_task\n"
             "ffffffff82000000 D linux_banner\nffffffff83000000 T start_kernel\nffffffffc0000000 t in_a_module\t[ext4]\n")

    def test_symbols(self):
        with tempfile.TemporaryDirectory() as folder:
            out = f"{folder}/kernel.elf"
            run("tools/gdb/kallsyms", "-", out, text=self.LINES)
            found = sorted(" ".join(line.split()) for line in run("nm", out).splitlines())
            shown = run("gdb", "-q", "-nx", "-batch", "-ex", "info symbol 0xffffffff81000025", "-ex", "output &linux_banner", out)
        # Data has no contents in the file: B.
        self.assertEqual(found, sorted(" ".join(line.split()[:3]) for line in self.LINES.replace(" D ", " B ").splitlines()))
        self.assertIn("twice + 5 in section .text", shown)
        self.assertIn("0xffffffff82000000", shown)

    def test_refusals(self):
        for text, sentence in (("0000000000000000 T _text\n", "only root may read them"), ("what is this\n", "line 1 is not of /proc/kallsyms")):
            done = subprocess.run([TOP / "tools/gdb/kallsyms", "-", "/dev/null"], input=text, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(sentence, done.stderr)


class Initrd(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def build(self, name, *more):
        path = Path(self.folder.name) / name
        run("tools/initrd", "-o", path, *more)
        return path

    def test_equal_for_equal_contents(self):
        self.assertEqual(self.build("a").read_bytes(), self.build("b").read_bytes())

    def test_extra_folder_wins(self):
        extra = Path(self.folder.name) / "extra"
        (extra / "etc").mkdir(parents=True)
        (extra / "etc/hostname").write_text("other\n")
        data = self.build("a", "--tree", extra).read_bytes()
        self.assertIn(b"other\n", data)
        self.assertEqual(data.count(b"etc/hostname\0"), 1)

    def test_system_cpio_reads_it(self):
        with open(self.build("a"), "rb") as archive:
            names = subprocess.run(["/bin/busybox", "cpio", "-t"], stdin=archive, check=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        for name in (b"bin/busybox", b"sbin/init", b"etc/inittab", b"usr/share/doc/NOTICE",
                     b"usr/share/terminfo/l/linux"):
            self.assertIn(name, names.splitlines())


class Tags(unittest.TestCase):
    def test_tag(self):
        with tempfile.NamedTemporaryFile("w", suffix=".c") as file:
            file.write("/* build: musl */\n/* libs: -lm -lz */\nint main;\n")
            file.flush()
            self.assertEqual(run("tools/tag", "build", file.name), "musl\n")
            self.assertEqual(run("tools/tag", "libs", file.name), "-lm -lz\n")
            self.assertEqual(run("tools/tag", "none", file.name), "")


class LintImports(unittest.TestCase):
    def test_a_clock_is_refused_by_file_and_name(self):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "vmm/machine/new.o"
            place.parent.mkdir(parents=True)
            code = "#include <time.h>\n#include <stdlib.h>\nlong f(void) { free(0); return time(0); }\n"
            subprocess.run(["gcc", "-O2", "-x", "c", "-c", "-", "-o", place], input=code, text=True, check=True)
            done = subprocess.run([TOP / "tools/lint", "imports", place], stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("vmm/machine/new.c uses time: allowed nowhere", done.stdout)
        self.assertNotIn("free", done.stdout)


class Emulators(unittest.TestCase):
    def test_console_text_is_clean(self):
        self.assertEqual(clean(b"\x1b[1;31mred\x1b[0m\r\n\x1b[6n/ # "), "red\n/ # ")
        self.assertTrue(ESCAPES.search("\x1b[2J"))

    def test_keys(self):
        keys = list(split_keys("Ab<ctrl-c>/\n"))
        self.assertEqual(keys, ["A", "b", "ctrl-c", "/", "ret"])
        self.assertEqual([qemu_name(k) for k in keys], ["shift-a", "b", "ctrl-c", "slash", "ret"])

    def test_screen(self):
        memory = bytearray(b" \x07" * 2000)
        memory[160:164] = b"H\x1fi\x1f"
        screen = Screen(bytes(memory))
        self.assertEqual(screen.lines()[1], "Hi")
        self.assertEqual(screen.attribute(1, 0), (15, 1))
        self.assertEqual(len(load_font()), 4096)


if __name__ == "__main__":
    unittest.main()
