"""Kernels of every format under vmx: each starts as its boot protocol says, or is refused with a sentence."""
import shutil
import struct

from guests import twins
from harness import BUILD, Boot, Failure, machine_test

AREA = "Guests"
MB1, MB2 = 0x1badb002, 0xe85250d6
MB1_LOADER, MB2_LOADER = 0x2badb002, 0x36d76289


def status_code(magic):
    """32-bit code: ends the VM with status 9 if EAX is the loader's magic number, and with 1 if not."""
    return (bytes.fromhex("3d") + struct.pack("<I", magic)            # cmp $magic, %eax
            + bytes.fromhex("b809000000 7405 b801000000 66ba0105 ef f4"))


def kludge(code=status_code(MB1_LOADER), **changes):
    """Multiboot 1 with addresses in the header (a.out kludge), loaded at 1 MB."""
    field = dict(header_addr=0x100000, load_addr=0x100000, load_end_addr=0, bss_end_addr=0, entry_addr=0x100020)
    field.update(changes)
    flags = 1 << 16
    return (struct.pack("<8I", MB1, flags, -(MB1 + flags) & 0xffffffff, *field.values()) + code)


def multiboot2(entry_tag=12, arch=0):
    """With an address and an entry tag, loaded at 3 MB."""
    tags = (struct.pack("<HHI4I", 2, 0, 24, 0x300000, 0x300000, 0, 0) + struct.pack("<HHIII", 3, 0, entry_tag, 0x300040, 0)
            + struct.pack("<HHI", 0, 0, 8))
    head = struct.pack("<4I", MB2, arch, 16 + len(tags), -(MB2 + arch + 16 + len(tags)) & 0xffffffff)
    return (head + tags).ljust(64, b"\0") + status_code(MB2_LOADER)


def boot_sector(code):
    return bytes.fromhex(code).ljust(510, b"\0") + b"\x55\xaa"


def linux(offset, value):
    """The header of a bzImage, and nothing behind it, with one byte changed."""
    image = bytearray(8192)
    image[0x1f1], image[0x1fe], image[0x1ff] = 2, 0x55, 0xaa
    image[0x202:0x206], image[0x206:0x208] = b"HdrS", b"\x0f\x02"
    image[0x211], image[0x239] = 1, 8
    image[offset] = value
    return bytes(image)


# movl $"H" | "i" << 16, 0xb8000: all that it says is on the VGA screen.
SCREEN = kludge(bytes.fromhex("c705 00800b00 48076907") + status_code(MB1_LOADER))

BIOS = boot_sector("b8410e cd10 f4")                                  # mov $0x0e41, %ax; int $0x10; hlt

# Images that run: they end with this status.
GOOD = {"kludge": (kludge(), 9), "multiboot2": (multiboot2(), 9),
        # In real mode at 0:7c00: status 9 if CS is 0 and DL is 80h.
        "sector": (boot_sector("8cc8 85c0 7510 80fa80 750b ba0105 66b809000000 66ef ba0105 66b801000000 66ef f4"), 9)}
# Those that are refused: what the sentence says of the field.
BAD = {"kludge-end": (kludge(load_end_addr=0x200000), "load_end_addr 0x200000 is past the end of the file"),
       "kludge-bss": (kludge(bss_end_addr=0xf0000000), "where this VM (64 MiB) has no free memory"),
       "kludge-low": (kludge(header_addr=0x10000, load_addr=0x10000), "lies where the loader has tables for the kernel"),
       "multiboot2-tag": (multiboot2(entry_tag=100), "header tag 3 has size 100"),
       "multiboot2-arch": (multiboot2(arch=4), "architecture 4 is not i386"),
       "linux-old": (linux(0x206, 9), "boot protocol 2.09 is too old"),
       "linux-sectors": (linux(0x1f1, 200), "setup_sects 200 is past the end of the file"),
       "linux-large": (linux(0x263, 0x10), "init_size is 0x10000000"),
       "zeros": (bytes(4096), "is no kernel that can be loaded")}


def image_files(lab):
    folder = lab.folder / "files"
    (folder / "guests").mkdir(parents=True, exist_ok=True)
    for name, (image, _) in {**GOOD, **BAD, "screen": (SCREEN, 9), "bios": (BIOS, 126)}.items():
        (folder / f"guests/{name}").write_bytes(image)
    shutil.copy(BUILD / "chronovisor.elf", folder / "guests")
    shutil.copy(BUILD / "initrd-test.cpio", folder / "guests/initrd")
    (folder / "guests/bad.conf").write_text("kernel = /guests/kludge\n\n# twice too many\ncpus = 32\n")
    return folder


@machine_test(cost=12)
def every_format(lab):
    with lab.boot(Boot(mem=320, extra=str(image_files(lab)))) as m:
        for name, (_, wanted) in GOOD.items():
            twins(m, f"-mem 64 /guests/{name}", status=wanted)
        output, status = m.sh("vmx -mem 64 /guests/screen < /dev/null")
        if status != 9 or "nothing but this, on its VGA screen:" not in output or "vmx: | Hi" not in output:
            raise Failure(f"a kernel that only knows the screen: status {status}: {output}")
        output, status = m.sh("vmx -mem 64 /guests/bios < /dev/null")
        if status != 126 or "interrupt 10h in real mode" not in output:
            raise Failure(f"a boot sector that calls the BIOS: status {status}: {output}")
        for name, (_, sentence) in BAD.items():
            output, status = m.sh(f"vmx -v -mem 64 /guests/{name} < /dev/null")
            if status != 125 or sentence not in output or output.count(name) != 1 or " exits (" in output:
                raise Failure(f"{name}: status {status}, not {sentence!r} once and nothing else in: {output}")
        output, status = m.sh("vmx -c /guests/bad.conf")
        if status != 125 or "bad.conf:4: cpus: must be a number from 1 to 16: '32'" not in output:
            raise Failure(f"a bad configuration: status {status}: {output}")
        # VMkernel itself: a Multiboot 2 ELF file with a module, on a machine without VT-x.
        twins(m, "-mem 128 -no-reboot -append 'console=ttyS0 init=/bin/uname' -initrd /guests/initrd /guests/chronovisor.elf",
              "init exited with status 0")
