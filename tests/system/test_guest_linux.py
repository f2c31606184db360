"""Debian's kernels as guests, with what people do there: shell, disks, neighbours, logs, replay."""
import hashlib
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from emu import Machine, start
from emu.shell import Shell
from guests import own_lines, recorded, replayed
from harness import BUILD, TOP, Boot, Failure, machine_test

AREA = "Guests"
PACKAGES = {"cloud": "linux-image-cloud-amd64", "generic": "linux-image-amd64"}
MODULES = "crc32c_generic ext4 virtio_pci virtio_blk virtio_rng sd_mod ata_piix".split()
LINE = "console=ttyS0 quiet rdinit=/sbin/init"
PROMPT = r"guest# $"
GUEST_MEM = 192
HOST_MEM = GUEST_MEM + 128
IPS = 100_000_000
LIMIT = 400                      # seconds for a boot on a busy workstation

# Roles of a guest that nobody talks to, chosen by role= on its command line.
ROLES = """#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
echo "$role: started"
case $role in
crash)
    sleep 2
    echo c > /proc/sysrq-trigger ;;
victim)
    while :; do :; done ;;
worker)
    for round in $(seq 60); do
        seq 1000 | md5sum > /tmp/sum
        sleep 0.5
        echo "$role: round $round $(cat /tmp/sum)"
    done ;;
disks)
    /etc/rc.local
    sleep 1
    for disk in vda sda; do
        mount -t ext4 /dev/$disk /mnt
        head -c 300000 /dev/urandom > /mnt/random
        cat /mnt/greeting
        sync
        md5sum /mnt/random
        umount /mnt
    done
    echo "$(nproc) processors" ;;
programs)
    for round in 1 2 3 4 5; do
        seq 1000 | md5sum
        sleep 0.2
    done ;;
swap)
    /etc/rc.local
    mkswap /dev/vda > /dev/null
    swapon /dev/vda
    mount -t tmpfs -o size=200m tmpfs /mnt
    head -c 1000000 /dev/urandom > /mnt/part
    for file in 1 2 3 4 5 6; do
        for part in 1 2 3 4 5 6 7 8; do
            cat /mnt/part
        done > /mnt/$file
    done
    cat /mnt/* > /dev/null
    md5sum /mnt/1 /mnt/6
    grep -E '^pswp(in|out)' /proc/vmstat ;;
typed)
    /etc/rc.local
    while :; do
        dd if=/dev/urandom of=/dev/vda bs=16k count=8 conv=fsync 2> /dev/null
        sleep 0.05
    done &
    while read -r line; do
        echo "$role: $line, at $(cut -d ' ' -f 1 /proc/uptime)"
        [ "$line" = end ] && break
    done
    kill $!
    md5sum /dev/vda ;;
race)
    for run in 1 2 3; do
        /racer
    done
    echo "$(nproc) processors" ;;
esac
poweroff -f
"""


def kernel_files(lab, kernel):
    """(vmlinuz, initial file system) of a guest with that kernel of Debian."""
    folder = BUILD / "linux-guests" / kernel
    done = subprocess.run([TOP / "tools/linux-kernel", folder, PACKAGES[kernel], "modules"],
                          stdout=subprocess.PIPE, check=True)
    tree = lab.folder / "guest-tree"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("mnt", "etc"):
        (tree / name).mkdir(parents=True)
    subprocess.run([TOP / "tools/guest-modules", folder, tree, *MODULES], check=True)
    profile = (TOP / "image/rootfs/etc/profile").read_text()
    (tree / "etc/profile").write_text(re.sub("PS1=.*", "PS1='guest# '", profile))
    (tree / "roles").write_text(ROLES)
    (tree / "roles").chmod(0o755)
    shutil.copy(BUILD / "worlds/racer", tree / "racer")
    subprocess.run([TOP / "tools/initrd", "-o", lab.folder / "guest.cpio", "--tree", tree], check=True)
    return Path(done.stdout.decode().strip()), lab.folder / "guest.cpio"


def image_files(lab, kernel):
    """A folder for VMkernel's image with the guest's files in it."""
    target = lab.folder / "files" / "guests"
    target.mkdir(parents=True, exist_ok=True)
    vmlinuz, initrd = kernel_files(lab, kernel)
    shutil.copy(vmlinuz, target / "vmlinuz")
    shutil.copy(initrd, target / "initrd")
    return str(target.parent)


def vmx(line=LINE, mem=GUEST_MEM, options=""):
    return f"vmx {guest_options(line, mem, options)}"


def guest_options(line=LINE, mem=GUEST_MEM, options=""):
    return f"-mem {mem} {options} -initrd /guests/initrd -append '{line}' /guests/vmlinuz"


@contextmanager
def guest_shell(m, command):
    """vmx with its guest's shell; the guest is switched off at the end, and vmx must end with 0."""
    m.com1.send(f"{command}; echo '<'status $?\n")
    guest = Shell(m.com1, PROMPT)
    guest.boot_text = guest.wait_prompt(LIMIT)
    yield guest
    m.com1.send("poweroff\n")
    status = m.com1.expect(r"^<status (\d+)\n", 120)[1]
    if status != "0":
        raise Failure(f"vmx ended with status {status} after the guest's poweroff")
    m.shell.wait_prompt()


def checked(shell, command, limit=60):
    output, status = shell.run(command, limit)
    if status != 0:
        raise Failure(f"guest: {command!r} ended with status {status}:\n{output}")
    return output


def interrupt(shell):
    """^C ends what runs in the foreground, and only that."""
    shell.console.send("echo be'gin'; sleep 1000; echo aft'er'\n")
    shell.console.expect(r"^begin\n", 30)
    shell.console.send("\x03")
    found = shell.console.expect(PROMPT, 30)
    if re.search("^after$", found.before, re.MULTILINE):
        raise Failure("^C ended sleep, but not the command line")


def ext4_disk(lab, name):
    """A small ext4 disk with a file on it."""
    disk, content = lab.disk(name, 16), lab.folder / "content"
    content.mkdir(exist_ok=True)
    (content / "greeting").write_text("hello from the workstation\n")
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", content, disk], check=True)
    return disk


def use_disk(guest, device):
    """Writes a file to an ext4 disk; returns its MD5 sum."""
    checked(guest, f"mount -t ext4 /dev/{device} /mnt")
    if checked(guest, "cat /mnt/greeting") != "hello from the workstation":
        raise Failure(f"{device}: the guest reads something else than what was written")
    checked(guest, "mkdir /mnt/new; head -c 3000000 /dev/urandom > /mnt/new/random; rm /mnt/greeting; sync")
    digest = checked(guest, "umount /mnt; echo 3 > /proc/sys/vm/drop_caches;"
                     f" mount -t ext4 /dev/{device} /mnt; md5sum < /mnt/new/random").split()[0]
    checked(guest, "umount /mnt")
    return digest


def verify_disk(lab, disk, digest):
    """On the workstation: a sound file system, with the file that the guest wrote."""
    done = subprocess.run(["e2fsck", "-fn", disk], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise Failure(f"e2fsck -fn {disk}: {done.stdout.decode()}")
    copy = lab.folder / "copy"
    copy.unlink(missing_ok=True)
    subprocess.run(["debugfs", "-R", f"dump /new/random {copy}", disk], stderr=subprocess.DEVNULL, check=True)
    if hashlib.md5(copy.read_bytes()).hexdigest() != digest:
        raise Failure(f"{disk}: the file differs from what the guest wrote")


def typed_and_replayed(m, cpus):
    """A session recorded as it is typed, on disks whose writes are forgotten, and its replay."""
    options = guest_options(options=f"-cpus {cpus} -disk /dev/hda,private -disk /dev/hdb,private,if=ide")
    with guest_shell(m, f"vmx -record /tmp/twin -log /tmp/twin.messages {options}") as guest:
        interrupt(guest)
        checked(guest, "mount -t ext4 /dev/vda /mnt; md5sum /mnt/new/random; rm /mnt/new/random; umount /mnt; sync")
        checked(guest, "dd if=/dev/sda of=/dev/vda bs=64k count=32 2> /dev/null; sync; md5sum /dev/vda")
    replayed(m, options, limit=LIMIT)


def interactive(lab, kernel, cpus):
    disks = [ext4_disk(lab, "virtio.img"), ext4_disk(lab, "ide.img")]
    options = f"-cpus {cpus} -disk /dev/hda -disk /dev/hdb,if=ide"
    with lab.boot(Boot(mem=HOST_MEM, extra=image_files(lab, kernel)), disks=disks, ips=IPS) as m:
        with guest_shell(m, vmx(options=options)) as guest:
            if re.search("insmod|rror|arning", guest.boot_text):
                raise Failure(f"not a quiet boot:\n{guest.boot_text}")
            if checked(guest, "nproc; uname -s") != f"{cpus}\nLinux":
                raise Failure("not the processors that were asked for")
            interrupt(guest)
            digests = [use_disk(guest, "vda"), use_disk(guest, "sda")]
            checked(guest, "ls -la /proc > /dev/null; seq 10000 | sort -rn | md5sum")
        typed_and_replayed(m, cpus)
        m.com1.send("poweroff\n")
        m.powers_off(60)
    for disk, digest in zip(disks, digests):
        verify_disk(lab, disk, digest)


@machine_test(level="all", cost=60)
def cloud_with_one_processor(lab):
    interactive(lab, "cloud", 1)


@machine_test(level="all", cost=80)
def cloud_with_two_processors(lab):
    interactive(lab, "cloud", 2)


@machine_test(level="all", cost=80)
def generic_with_one_processor(lab):
    interactive(lab, "generic", 1)


@machine_test(level="all", cost=100)
def generic_with_two_processors(lab):
    interactive(lab, "generic", 2)


def free_memory(m):
    return int(m.check("awk '/^MemFree/ { print $2 }' /proc/meminfo").split()[-1])


def background_options(role, line):
    return guest_options(f"{line} role={role}", 128, f"-no-reboot -serial file:/tmp/{role}")


def in_background(m, role, line):
    log = f"-record /tmp/{role}.log -log /tmp/{role}.messages"
    output = m.check(f"vmx {log} {background_options(role, line)} & echo pid $!")
    return re.search(r"^pid (\d+)$", output, re.MULTILINE)[1]


def wait_line(m, role, text, seconds):
    m.check(f"for i in $(seq {seconds}); do grep -q '{text}' /tmp/{role} && break; sleep 1; done; "
            f"grep '{text}' /tmp/{role}", limit=LIMIT)


@machine_test(level="all", cost=200)
def three_at_once(lab):
    """One is killed, one crashes, the third does not notice; all memory comes back. All are recorded."""
    line = "console=ttyS0 quiet panic=-1 rdinit=/roles"
    with lab.boot(Boot(mem=3 * 128 + 128, extra=image_files(lab, "cloud")), ips=IPS) as m:
        before = free_memory(m)
        pids = {role: in_background(m, role, line) for role in ("worker", "victim", "crash")}
        for role in pids:
            wait_line(m, role, f"{role}: started", 300)
        m.check(f"kill -9 {pids['victim']}")
        m.check(f"wait {pids['victim']}; echo status $?", re.compile("status 137"))
        m.check(f"wait {pids['crash']}; echo status $?", re.compile("status 127"), limit=LIMIT)
        m.check("grep 'Kernel panic' /tmp/crash")
        if "round 60" in m.check("cat /tmp/worker"):
            raise Failure("the third had ended before the others did")
        m.check(f"wait {pids['worker']}; echo status $?", re.compile("status 0"), limit=LIMIT)
        rounds = m.check("grep round /tmp/worker").splitlines()
        if len(rounds) != 60 or len({entry.split()[-2] for entry in rounds}) != 1:
            raise Failure("the third computed something else:\n" + "\n".join(rounds))
        for role in ("worker", "crash"):
            m.check(f"mv /tmp/{role} /tmp/{role}.first")
            replayed(m, background_options(role, line), f"/tmp/{role}.log", LIMIT)
            m.check(f"cmp /tmp/{role}.first /tmp/{role}")
        m.check("rm /tmp/worker* /tmp/victim* /tmp/crash*")
        lost = before - free_memory(m)
        if lost > 1024:
            raise Failure(f"{lost} KB of memory are gone after three guests")


# ---- the log ---------------------------------------------------------------------------------------

# What the machine may say beyond QEMU's log; docs/machine.md, "Differences", says why.
EXPLAINED = []


def warnings(shell, copy):
    """Lines of level warning and worse, without times and numbers; the whole log goes to a file."""
    found = set()
    log = checked(shell, "dmesg -r")
    copy.write_text(log + "\n")
    for entry in log.splitlines():
        match = re.match(r"<(\d+)>\[ *[\d.]+\] ?(.*)", entry)
        if match and int(match[1]) & 7 <= 4:
            found.add(re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\d+", "N", match[2]))
    return found


def log_like_qemu(lab, kernel):
    """Two processors and both kinds of disks in use."""
    extra = image_files(lab, kernel)
    options = ["-kernel", f"{extra}/guests/vmlinuz", "-initrd", f"{extra}/guests/initrd", "-append", LINE]
    for kind in ("virtio", "ide"):
        options += ["-drive", f"file={ext4_disk(lab, kind + '-qemu.img')},format=raw,if={kind}"]
    with start(Machine(emu="qemu", cpus=2, mem=GUEST_MEM, options=options)) as running:
        shell = Shell(running.com1, PROMPT)
        shell.wait_prompt(LIMIT)
        for device in ("vda", "sda"):
            use_disk(shell, device)
        expected = warnings(shell, lab.folder / "dmesg-qemu")
    disks = [ext4_disk(lab, "virtio.img"), ext4_disk(lab, "ide.img")]
    with lab.boot(Boot(mem=HOST_MEM, extra=extra), disks=disks, ips=IPS) as m:
        options = guest_options(options="-cpus 2 -disk /dev/hda,private -disk /dev/hdb,private,if=ide")
        with guest_shell(m, f"vmx -record /tmp/twin -log /tmp/twin.messages {options}") as guest:
            for device in ("vda", "sda"):
                use_disk(guest, device)
            seen = warnings(guest, lab.folder / "dmesg-vmx")
        replayed(m, options, limit=LIMIT)
    more = [entry for entry in sorted(seen - expected) if not any(re.search(e, entry) for e in EXPLAINED)]
    if more:
        raise Failure("warnings that QEMU's guest does not have:\n" + "\n".join(more))


@machine_test(level="all", cost=80)
def cloud_log_like_qemu(lab):
    log_like_qemu(lab, "cloud")


@machine_test(level="all", cost=100)
def generic_log_like_qemu(lab):
    log_like_qemu(lab, "generic")


# ---- record and replay -----------------------------------------------------------------------------

@machine_test(level="all", cost=200)
def two_processors_replayed(lab):
    """Recorded with two disks whose writes are kept aside, and replayed: equal to the last hash."""
    disks = [ext4_disk(lab, "virtio.img"), ext4_disk(lab, "ide.img")]
    before = [Path(disk).read_bytes() for disk in disks]
    options = guest_options("console=ttyS0 quiet rdinit=/roles role=disks",
                            options="-cpus 2 -disk /dev/hda,private -disk /dev/hdb,private,if=ide")
    with lab.boot(Boot(mem=HOST_MEM, extra=image_files(lab, "cloud")), disks=disks, ips=IPS) as m:
        first = recorded(m, options, limit=LIMIT)
        if first.count("hello from the workstation") != 2 or "2 processors" not in first:
            raise Failure(f"the guest did not do its work:\n{first}")
        again = replayed(m, options, limit=LIMIT)
        m.check("chrono-log verify /tmp/twin", re.compile("^sound"))
    if own_lines(first) != own_lines(again):
        raise Failure(f"the replay printed something else:\n{first}\n----\n{again}")
    if [Path(disk).read_bytes() for disk in disks] != before:
        raise Failure("a disk was written although its writes are private")
