#!/usr/bin/env python3
"""Corpus for the unit test of the instruction decoder.

Assembles every form of the instructions that the decoder knows, with all operand sizes and addressing
modes, by GNU as, and has objdump say what each of them is. Prints one line per instruction:

  mode bytes name size source_size address_size segment base index scale displacement rip_relative
  dst_kind dst_reg dst_high src_kind src_reg src_high imm rep repne lock condition count

mode is 16, 32 or 64; kinds are - r m i x; an address part that is absent is -1.
count is the third operand, of a double shift: a constant, 256 for CL; of IMUL: the constant; or -1.
"""
import itertools
import re
import subprocess
import sys
import tempfile

WIDTHS = {"BYTE": 1, "WORD": 2, "DWORD": 4, "QWORD": 8, "XMMWORD": 16, "OWORD": 16, "YMMWORD": 32}
PTR = {v: k + " PTR" for k, v in reversed(WIDTHS.items())}
SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"]
CONDITIONS = "o no b ae e ne be a s ns p np l ge le g".split()
ALIASES = {"nae": "b", "c": "b", "nb": "ae", "nc": "ae", "z": "e", "nz": "ne", "na": "be", "nbe": "a",
           "pe": "p", "po": "np", "nge": "l", "nl": "ge", "ng": "le", "nle": "g"}
LOW = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]


def registers():
    names = {}
    for i, n in enumerate(LOW):
        names[n], names["e" + n], names["r" + n] = (i, 2), (i, 4), (i, 8)
        byte = n[0] + "l" if i < 4 else n + "l"
        names[byte] = (i, 1)
        if i < 4:
            names[n[0] + "h"] = (i, 1, True)
    for i in range(8, 16):
        names[f"r{i}"], names[f"r{i}d"], names[f"r{i}w"] = (i, 8), (i, 4), (i, 2)
        names[f"r{i}b"] = (i, 1)
    for i in range(16):
        names[f"xmm{i}"], names[f"ymm{i}"] = (i, 16), (i, 32)
    return names


REGS = registers()
MEMORY = {
    64: ["[rax]", "[rsp]", "[rbp]", "[r12]", "[r13]", "[rdi]", "[r15+0x7f]", "[rbp-0x80]", "[rsp+0x80]",
         "[rip+0x1234]", "[rax+rbx*4]", "[rsp+r9*8+0x10]", "[r13+rcx*1+0x12345678]", "[rbp+r12*2-1]",
         "[rax*8+0x100]", "[r14*4-0x7fffffff]", "ds:0x1000", "[eax]", "[ebp+ecx*2+5]", "[r8d+r15d*8]",
         "fs:[rax]", "gs:[rbp+8]", "gs:0x10", "fs:[r12+rdx*4-4]", "[esp+0x44]", "[rcx+rbp*1]"],
    32: ["[eax]", "[esp]", "[ebp]", "[ebp+0x12]", "[edi-0x80]", "[esi+0x1234567]", "[eax+ebx*4]",
         "[esp+ebp*8+0x10]", "[ecx*2+0x20]", "ds:0x12345678", "es:[edi]", "ss:[eax]", "fs:[ebx+1]",
         "ds:[ebp+4]", "[bx+si]", "[bp+di+0x5]", "[bp]", "[di+0x1234]", "gs:[si]", "cs:[edx]"],
    16: ["[bx+si]", "[bx+di]", "[bp+si]", "[bp+di]", "[si]", "[di]", "[bp]", "[bx]", "ds:0x1234", "[bp+0x7f]",
         "[bx-0x80]", "[si+0x1234]", "es:[di]", "ds:[bp+2]", "fs:[bx+di+0x300]", "[eax]", "[ebp+ecx*4]",
         "[esp+8]", "ds:[edi*8+0x40]", "gs:[bp]"],
}
GPR = {1: ["al", "cl", "bh", "ah", "dl"], 2: ["ax", "dx", "di"], 4: ["eax", "ebx", "esp", "edi"]}
GPR64 = {1: ["al", "bh", "sil", "r9b", "dil"], 2: ["ax", "r10w", "bp"], 4: ["eax", "r11d", "ecx", "esp"],
         8: ["rax", "r15", "rsi", "rsp"]}
ALU = "add or adc sbb and sub xor cmp".split()


def forms(mode):
    """Instruction templates: (text with {m} for memory of `size`, size of the memory operand)."""
    gpr = GPR64 if mode == 64 else GPR
    sizes = list(gpr)
    for s in sizes:
        regs = gpr[s]
        for r in regs:
            for op in ALU + ["mov"]:
                yield f"{op} {{m}},{r}", s
                yield f"{op} {r},{{m}}", s
            for op in "test xchg xadd cmpxchg".split():
                yield f"{op} {{m}},{r}", s
            if s > 1:
                for op in "bt bts btr btc".split():
                    yield f"{op} {{m}},{r}", s
                yield f"imul {r},{{m}}", s
                for imm in ("0x5", "-0x3", "0x1234", "-0x4567"):
                    yield f"imul {r},{{m}},{imm}", s
                for op in ("shld", "shrd"):
                    for count in ("cl", "0", "1", "0xb", "0x1f", "0x8b"):
                        yield f"{op} {{m}},{r},{count}", s
                for c in CONDITIONS:
                    yield f"cmov{c} {r},{{m}}", s
                yield f"movzx {r},{{m}}", 1
                yield f"movsx {r},{{m}}", 1
                yield f"movbe {r},{{m}}", s
                yield f"movbe {{m}},{r}", s
            if s > 2:
                yield f"movzx {r},{{m}}", 2
                yield f"movsx {r},{{m}}", 2
                yield f"movnti {{m}},{r}", s
            if s == 8:
                yield f"movsxd {r},{{m}}", 4
        big = {1: "0x81", 2: "0x8123", 4: "0x81234567", 8: "-0x12345678"}[s]
        for op in ALU + ["mov", "test"]:
            for imm in ("0x5", "-0x3", big):
                yield f"{op} {{m}},{imm}", s
        for op in "inc dec not neg".split():
            yield f"{op} {{m}}", s
        for op in "rol ror rcl rcr shl shr sar".split():
            for count in ("1", "5", "cl"):
                yield f"{op} {{m}},{count}", s
        if s > 1:
            for op in "bt bts btr btc".split():
                yield f"{op} {{m}},0xb", s
        for op in "add or adc sbb and sub xor".split():
            yield f"lock {op} {{m}},{regs[0]}", s
        yield f"lock xadd {{m}},{regs[1]}", s
        yield f"lock inc {{m}}", s
    for c in CONDITIONS:
        yield f"set{c} {{m}}", 1
    for lock in ("", "lock "):
        yield f"{lock}cmpxchg8b {{m}}", 8
        if mode == 64:
            yield f"{lock}cmpxchg16b {{m}}", 16
    for s in ((8, 2) if mode == 64 else (4, 2)):
        yield "push {m}", s
        yield "pop {m}", s
    for x in ("xmm0", "xmm7") + (("xmm13",) if mode == 64 else ()):
        for op in "movups movupd movaps movapd movdqa movdqu".split():
            yield f"{op} {x},{{m}}", 16
            yield f"{op} {{m}},{x}", 16
        for op in "movntps movntpd movntdq".split():
            yield f"{op} {{m}},{x}", 16
        yield f"lddqu {x},{{m}}", 16
        for op, s in (("movss", 4), ("movsd", 8), ("movd", 4), ("movq", 8)):
            yield f"{op} {x},{{m}}", s
            yield f"{op} {{m}},{x}", s
        yield from avx(x)


def avx(x):
    for vector, size in ((x, 16), (x.replace("x", "y", 1), 32)):
        for op in "movups movupd movaps movapd movdqa movdqu".split():
            yield f"v{op} {vector},{{m}}", size
            yield f"v{op} {{m}},{vector}", size
        for op in "movntps movntpd movntdq".split():
            yield f"v{op} {{m}},{vector}", size
        yield f"vlddqu {vector},{{m}}", size
        yield f"{{{{vex3}}}} vmovdqu {vector},{{m}}", size
    for op, s in (("movss", 4), ("movsd", 8), ("movd", 4), ("movq", 8)):
        yield f"v{op} {x},{{m}}", s
        yield f"v{op} {{m}},{x}", s


def strings(mode):
    suffixes = "bwlq" if mode == 64 else "bwl"
    prefixes = ["", "rep ", "repnz "]
    for name in "movs stos lods cmps scas ins outs".split():
        for suffix in suffixes:
            if name in ("ins", "outs") and suffix == "q":
                continue
            for prefix in prefixes:
                yield f"{prefix}{name}{suffix}"
                if name in ("movs", "lods", "cmps", "outs"):
                    yield f"fs {prefix}{name}{suffix}"
                yield f"{'addr16' if mode == 32 else 'addr32'} {prefix}{name}{suffix}"


def absolute(mode):
    address = "0x1122334455667788" if mode == 64 else "0x1234"
    op = "movabs" if mode == 64 else "mov"
    for r in ["al", "ax", "eax"] + (["rax"] if mode == 64 else []):
        yield f"{op} {r},ds:{address}"
        yield f"{op} ds:{address},{r}"
        yield f"{op} {r},fs:{address}"


def source(mode):
    lines = [".intel_syntax noprefix", {64: ".code64", 32: ".code32", 16: ".code16"}[mode]]
    memory = MEMORY[mode]
    turn = itertools.cycle(range(len(memory)))
    for text, size in forms(mode):
        every = text.startswith(("mov {m}", "mov eax", "mov cl", "mov r15", "mov ax", "add {m}", "movzx", "cmp {m},0x5"))
        for i in range(len(memory)) if every else [next(turn) for _ in range(5)]:
            m = memory[i]
            if re.search(r"\b[ab]h\b", text) and re.search(r"\br(8|9|1[0-5])", m):
                continue  # AH and BH cannot be named together with REX
            lines.append(text.format(m=f"{PTR[size]} {m}"))
    lines += absolute(mode)
    lines.append(".att_syntax")
    lines += strings(mode)
    return "\n".join(lines) + "\n"


def assemble(mode):
    with tempfile.TemporaryDirectory() as d:
        with open(f"{d}/a.s", "w") as f:
            f.write(source(mode))
        subprocess.run(["as", "--64" if mode == 64 else "--32", "-o", f"{d}/a.o", f"{d}/a.s"], check=True)
        machine = {64: "i386:x86-64", 32: "i386", 16: "i8086"}[mode]
        text = subprocess.run(["objdump", "-d", "-m", machine, "-M", "intel", "--insn-width=16", f"{d}/a.o"],
                              check=True, capture_output=True, text=True).stdout
    return re.findall(r"^\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*\t(.*)$", text, re.M)


def signed(text, bits=64):
    value = int(text, 16)
    return value - (1 << bits) if value >> (bits - 1) else value


def address(text, mode, prefixes):
    """Of 'fs:[rax+rbx*4+0x10]' or 'ds:0x1000': address size, segment, base, index, scale, disp, rip."""
    m = re.fullmatch(r"(?:(\w\w):)?(?:\[(.*)\]|(0x[0-9a-f]+))", text)
    segment, inside, plain = m.groups()
    size = {64: 8, 32: 4, 16: 2}[mode]
    if 0x67 in prefixes:
        size = 2 if mode == 32 else 4
    base, index, scale, disp, rip = -1, -1, 1, 0, 0
    if plain:
        disp = signed(plain) if mode == 64 else int(plain, 16)
        if mode != 64 or size != 8:
            disp = signed(plain, 16 if size == 2 else 32) if int(plain, 16) < 1 << 32 else disp
    else:
        for term in re.findall(r"[+-]?[^+-]+", inside):
            sign = -1 if term[0] == "-" else 1
            term = term.lstrip("+-")
            if term.startswith("0x"):
                disp = sign * int(term, 16)
            elif term == "rip":
                rip = 1
            elif "*" in term:
                name, factor = term.split("*")
                if name not in ("riz", "eiz"):  # objdump's way to say: none
                    index, scale = REGS[name][0], int(factor)
            elif base < 0:
                base = REGS[term][0]
            else:
                index = REGS[term][0]
    if segment is None or (mode == 64 and segment == "ds"):
        segment = "ss" if base in (4, 5) else "ds"
    return size, SEGMENTS.index(segment), base, index, scale, disp, rip


def split_operands(text):
    return [o.strip() for o in re.split(r",(?![^\[]*\])", text)] if text else []


def describe(mode, code, text):
    text = re.sub(r"\s*#.*", "", text).strip()
    raw = bytes.fromhex(code)
    prefixes = set(itertools.takewhile(lambda b: b in (0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65),
                                       raw))
    words = text.split()
    flags = {"rep": 0, "repne": 0, "lock": 0}
    while words[0] in ("rep", "repz", "repnz", "lock", "fs", "gs", "addr32", "addr16", "data16"):
        word = {"repz": "rep", "repnz": "repne"}.get(words[0], words[0])
        if word in flags:
            flags[word] = 1
        words.pop(0)
    name = words[0]
    ops = split_operands(" ".join(words[1:]))
    string = name in ("movs", "stos", "lods", "cmps", "scas", "ins", "outs")
    condition = 0
    for prefix in ("set", "cmov"):
        if name.startswith(prefix):
            c = name[len(prefix):]
            condition, name = CONDITIONS.index(ALIASES.get(c, c)), prefix
    size, source_size, where, kinds, imm = 0, 0, None, [], 0
    parts = []
    for o in ops:
        if re.search(r"\[|ds:0x|fs:0x|gs:0x|es:0x|ss:0x|cs:0x", o):
            width = re.match(r"(\w+) PTR ", o)
            if width:
                size_m = WIDTHS[width.group(1)]
                o = o[width.end():]
            else:
                size_m = 0
            where_o = address(o, mode, prefixes)
            if string:  # the operand with rSI, if there is one, is the one described
                if where is None or where_o[2] == 6:
                    where = where_o
            else:
                where = where_o
            parts.append(("m", -1, 0, size_m))
        elif o in REGS:
            reg = REGS[o]
            kind = "x" if o[1:].startswith("mm") else "r"
            parts.append((kind, reg[0], 1 if len(reg) > 2 else 0, reg[1]))
        else:
            parts.append(("i", -1, 0, 0))
            imm = signed(o) if mode == 64 else int(o, 16)
    memory_size = max([p[3] for p in parts if p[0] == "m"] + [0])
    register_size = max([p[3] for p in parts if p[0] == "r"] + [0])
    if name in ("movzx", "movsx", "movsxd"):
        size, source_size = register_size, memory_size
        name = "movsx" if name == "movsxd" else name
    elif any(p[0] == "x" for p in parts):
        size = memory_size or max(p[3] for p in parts)  # LDDQU's is not printed
        name = "vmovxmm" if name.startswith("v") else "movxmm"
    elif name in ("rol", "ror", "rcl", "rcr", "shl", "shr", "sar", "sal"):
        size = memory_size
        if len(parts) == 1:
            parts.append(("i", -1, 0, 0))
            imm = 1
    else:
        size = memory_size or register_size
    if string:
        if name in ("ins", "outs"):
            parts = [p if p[0] == "m" else ("-", -1, 0, 0) for p in parts]
    if name in ("test", "xchg") and len(parts) == 2 and parts[0][0] == "r":
        parts.reverse()  # order does not matter to them; the decoder has memory first
    if name == "push":
        parts.insert(0, ("-", -1, 0, 0))
    if name == "movabs":
        name = "mov"
    count = -1
    if name in ("shld", "shrd"):
        count, imm = (256 if parts[2][0] == "r" else imm), 0
    elif name == "imul" and len(parts) == 3:
        count = imm & ((1 << 8 * min(size, 4)) - 1)
    elif name in ("cmpxchg8b", "cmpxchg16b"):
        name = "cmpxchgpair"
    while len(parts) < 2:
        parts.append(("-", -1, 0, 0))
    imm &= (1 << (8 * min(size, 8))) - 1
    fields = [mode, raw.hex(), name, size, source_size, *where]
    for kind, reg, high, _ in parts[:2]:
        fields += [kind, reg, high]
    fields += [imm, flags["rep"], flags["repne"], flags["lock"], condition, count]
    return fields


def main():
    for mode in (64, 32, 16):
        for code, text in assemble(mode):
            print(*describe(mode, code, text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
