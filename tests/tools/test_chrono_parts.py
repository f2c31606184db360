"""The parts of chrono that need no machine: consoles' windows, scripts, descriptions, packs, serial transfer."""
import argparse
import base64
import errno
import hashlib
import io
import json
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))
from datadisk import DataDisk  # noqa: E402
from emu import EmuError  # noqa: E402
from emu.bridge import Bridge  # noqa: E402
from emu.console import Console  # noqa: E402
from emu.typing import Script  # noqa: E402
from guest import Guest, output_file  # noqa: E402
from logs import free_name, receive_file  # noqa: E402
from pack import unpack  # noqa: E402
from recording import find_images  # noqa: E402
from session import Window  # noqa: E402

DESCRIPTION = f"""tick instruction
memory 67108864
cpus 2
acpi 1
pci 0
append console=ttyS0 quiet "a b"
console no
kernel 5 {'a' * 64} my kernel.elf
disk0 ide ro
image 7 {'b' * 64} hda
"""


class Windows(unittest.TestCase):
    def feed(self, size):
        """A stream cut into pieces of `size` bytes."""
        out = bytearray()
        window = Window(out.extend)
        stream = (f"GRUB\r\n{window.begin[:-1]}\r\nhello >> {window.end[:9]} world\r\n{window.end}17\r\npower off").encode()
        for at in range(0, len(stream), size):
            window.feed(stream[at:at + size])
        return window, bytes(out)

    def test_only_what_is_between_the_marks(self):
        for size in (1, 2, 3, 7, 19, 1000):
            window, out = self.feed(size)
            self.assertEqual(out, f"hello >> {window.end[:9]} world\r\n".encode(), size)
            self.assertEqual(window.status, 17)

    def test_an_end_that_does_not_come(self):
        out = bytearray()
        window = Window(out.extend)
        window.feed(f"{window.begin}>>".encode())
        self.assertIsNone(window.status)
        window.feed(b"> x")
        self.assertEqual(bytes(out), b">>> x")


class Scripts(unittest.TestCase):
    def script(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".script") as file:
            file.write(text)
            file.flush()
            return Script(file.name)

    def test_steps(self):
        steps = self.script("# a comment\n\nwait guest# $\ntype ls\\x03\\n\n").steps
        self.assertEqual([(number, verb) for number, verb, _ in steps], [(3, "wait"), (4, "type")])
        self.assertEqual(steps[1][2], b"ls\x03\n")

    def test_mistakes_name_their_line(self):
        for text in ("wait (\n", "\n\nsleep 3\n"):
            with self.assertRaisesRegex(EmuError, rf":{text.count(chr(10))}: "):
                self.script(text)


class Descriptions(unittest.TestCase):
    def test_command_line(self):
        guest = Guest.from_description(DESCRIPTION)
        self.assertEqual(guest.command("-replay", "x"), "./vmx -mem 65536K -cpus 2 -append 'console=ttyS0 quiet \"a b\"' "
                         "-kernel '0/my kernel.elf' -disk 1/hda,if=ide,ro -no-pci -replay x")
        self.assertEqual(guest.host_memory(), 64 + 96)
        self.assertEqual(guest.images[0].size, 5)

    def test_arguments_of_a_module(self):
        guest = Guest.from_description(DESCRIPTION + f"module 5 {'c' * 64} a\ninitrd-append x=1 y\nmodule 5 {'c' * 64} b\n")
        self.assertIn("-initrd 2/a -initrd-append 'x=1 y' -initrd 3/b", guest.command())

    def test_version_1(self):
        guest = Guest.from_description(f"memory 4194304\nkernel a b 5 {'c' * 64}\n")
        self.assertEqual((guest.images[0].name, guest.images[0].size), ("a b", 5))

    def test_without_a_clock(self):
        guest = Guest.from_description("tick exit\nclock none\n" + DESCRIPTION.partition("\n")[2])
        self.assertIn("-clock none", guest.command())

    def test_not_understood(self):
        kernel = f"kernel 5 {'a' * 64} k\n"
        for text in ("kernel x\n", "cpus 1\n", kernel + "cpus two\n", kernel + "memory x\n", kernel + "disk0 ide\n"):
            with self.subTest(text), self.assertRaises(EmuError):
                Guest.from_description(text)

    def test_names_stay_on_the_data_disk(self):
        for name in ("../../etc/passwd", "/etc/passwd", "..", "."):
            with self.subTest(name), self.assertRaisesRegex(EmuError, "not understood"):
                Guest.from_description(f"kernel 5 {'a' * 64} {name}\n")

    def test_images_by_their_sum(self):
        with tempfile.TemporaryDirectory() as folder:
            right, wrong = Path(folder) / "right", Path(folder) / "kernel.elf"
            right.write_bytes(b"12345")
            wrong.write_bytes(b"54321")
            digest = hashlib.sha256(b"12345").hexdigest()
            guest = Guest.from_description(f"kernel 5 {digest} kernel.elf\n")
            with self.assertRaisesRegex(EmuError, f"kernel.elf, 5 bytes, SHA-256 {digest}\n.*is another file"):
                find_images(Path(folder) / "log", guest, [])
            find_images(Path(folder) / "log", guest, [right])
            self.assertEqual(guest.images[0].path, right)


class Mistakes(unittest.TestCase):
    """What is told before a run, which may take minutes."""

    def chrono(self, *words):
        done = subprocess.run([TOP / "tools/chrono", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        self.assertEqual(done.returncode, 125, done.stdout)
        self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)
        return done.stdout

    def test_where_a_log_cannot_go(self):
        with tempfile.TemporaryDirectory() as folder:
            for command in ("record", "hunt"):
                self.assertIn("nowhere/log: there is no folder", self.chrono(command, __file__, "-o", f"{folder}/nowhere/log"))
                self.assertIn("no ordinary file", self.chrono(command, __file__, "-o", folder))
            self.assertIn("there is no folder", self.chrono("log", "pack", __file__, "-o", f"{folder}/nowhere/pack"))
            self.assertIn("there is no folder", self.chrono("replay", __file__, "--trace", f"{folder}/nowhere/trace"))
            self.assertIn("No such file", self.chrono("gdb", __file__, "--console", f"{folder}/nowhere/console"))
            self.assertEqual(output_file(f"{folder}/log"), Path(folder) / "log")
            with self.assertRaisesRegex(EmuError, "quotation mark"):
                output_file(f'{folder}/a"b')
            (Path(folder) / "log").write_text("x")
            self.assertIn("is the log itself", self.chrono("log", "pack", f"{folder}/log", "-o", f"{folder}/./log"))

    def test_what_cannot_be_read(self):
        with tempfile.TemporaryDirectory() as folder:
            args = argparse.Namespace(kernel=__file__, initrd=[], disk=[])
            with mock.patch("guest.os.access", return_value=False), self.assertRaisesRegex(EmuError, "you may not read it"):
                Guest.from_arguments(args)              # root may read everything
            self.assertIn("initrd: no such file", self.chrono("run", __file__, "--initrd", f"{folder}/initrd"))


class Lines(unittest.TestCase):
    """A machine's serial line, at whose other end is this test."""

    def setUp(self):
        self.console = Console("com1")
        self.addCleanup(self.console.close)
        self.machine = socket.create_connection(("127.0.0.1", self.console.port))
        self.addCleanup(self.machine.close)

    def test_nobody_takes_what_is_shown(self):
        self.console.sink = mock.Mock(side_effect=BrokenPipeError(errno.EPIPE, "Broken pipe"))
        self.machine.sendall(b"one\n")
        self.console.expect("one")
        self.assertEqual(self.console.nobody.errno, errno.EPIPE)
        self.machine.sendall(b"two\n")                  # the machine goes on
        self.console.expect("two")
        self.console.sink.assert_called_once()

    def test_a_closed_bridge_takes_nobody(self):
        bridge = Bridge(self.console)
        client = socket.create_connection(("127.0.0.1", bridge.port))
        self.machine.sendall(b"x")
        self.assertEqual(client.recv(1), b"x")
        bridge.close()
        self.assertEqual(client.recv(1), b"")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", bridge.port))
        client.close()


class Serial(unittest.TestCase):
    DATA = bytes(range(256)) * 9

    def text(self, data, digest=None):
        digest = digest or hashlib.sha256(data).hexdigest()
        return f"/ # begin-file {len(data)} {digest} bug.log\r\n".encode() + base64.encodebytes(data) + b"end-file\r\n# "

    def test_a_file(self):
        self.assertEqual(receive_file(io.BytesIO(b"noise\n" + self.text(self.DATA)), "x"), ("bug.log", self.DATA))

    def test_its_name_is_free(self):
        with tempfile.TemporaryDirectory() as folder:
            there = Path(folder) / "bug.log"
            self.assertEqual(free_name(str(there)), str(there))
            there.write_text("mine")
            Path(f"{there}.2").symlink_to("nowhere")
            self.assertEqual(free_name(str(there)), f"{there}.3")

    def test_damage(self):
        good = self.text(self.DATA)
        for bad, why in ((good.replace(b"AAEC", b"AAE!"), "line 2"), (good[:-200], "amid"), (b"nothing\n", "without"),
                         (self.text(self.DATA, "0" * 64), "others than were sent")):
            with self.assertRaisesRegex(EmuError, why):
                receive_file(io.BytesIO(bad), "x")


class Packs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.top = Path(self.folder.name)

    def make(self, manifest, **files):
        tree = self.top / "tree"
        tree.mkdir()
        (tree / "manifest.json").write_text(json.dumps(manifest))
        for name, text in files.items():
            (tree / name).write_text(text)
        out = self.top / "x.tar.zst"
        subprocess.run(["tar", "--zstd", "-C", tree, "-cf", out, "manifest.json", *files], check=True)
        return out

    def entry(self, role, name, text):
        return {"role": role, "name": name, "size": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}

    def test_refused(self):
        log = self.entry("log", "run.log", "abc")
        vmx = self.entry("vmx", "vmx", "def")
        for manifest, why in (({"chronovisor_pack": 99, "files": []}, "format 99"), ({"files": 3}, "damaged"),
                              ({"chronovisor_pack": 1, "files": [log]}, "no log, or no vmx"),
                              ({"chronovisor_pack": 1, "files": [log, vmx, {**vmx, "name": "../x"}]}, "refused"),
                              ({"chronovisor_pack": 1, "files": [log, {**vmx, "sha256": "0" * 64}]}, "another SHA-256"),
                              ({"chronovisor_pack": 1, "files": [log, {**vmx, "size": 2}]}, "another size"),
                              ({"chronovisor_pack": 1, "files": [log, {**vmx, "name": 3}]}, "damaged"),
                              ({"chronovisor_pack": 1, "files": [log, vmx, {**vmx, "name": "y"}]}, "y is missing")):
            with self.subTest(why), self.assertRaisesRegex(EmuError, why):
                unpack(self.make(manifest, **{"run.log": "abc", "vmx": "def"}), self.top)
            subprocess.run(["rm", "-r", self.top / "tree", self.top / "unpacked"], check=True)

    def test_unpacked(self):
        manifest = {"chronovisor_pack": 1, "files": [self.entry("log", "run.log", "abc"), self.entry("vmx", "vmx", "def")]}
        log = unpack(self.make(manifest, **{"run.log": "abc", "vmx": "def"}), self.top)
        self.assertEqual(log.read_text(), "abc")
        self.assertEqual(json.loads(Path(f"{log}.json").read_text())["vmx"], "vmx")


class Disks(unittest.TestCase):
    def test_in_and_out(self):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "file"
            source.write_bytes(bytes(100_000))
            disk = DataDisk(Path(folder) / "disk")
            link = Path(folder) / "link"                # as Debian's /vmlinuz is one
            link.symlink_to("file")
            disk.put("0/a file", link)
            disk.write("start", "echo\n")
            image = disk.make(free=1 << 20)
            self.assertTrue(disk.get("0/a file", Path(folder) / "out"))
            self.assertEqual((Path(folder) / "out").read_bytes(), bytes(100_000))
            self.assertEqual(disk.text("start"), "echo\n")
            self.assertFalse(disk.get("nothing", Path(folder) / "out"))
            self.assertEqual((Path(folder) / "out").read_bytes(), bytes(100_000))   # an older log is not lost
            subprocess.run(["/sbin/e2fsck", "-fn", image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    unittest.main()
