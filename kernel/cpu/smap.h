// STAC and CLAC open and close the window in which the kernel may touch user pages (SMAP). Where the
// processor has no SMAP they do not exist; features.c then replaces each site by a NOP at boot.
#pragma once

#ifdef __ASSEMBLER__
// clang-format off
.macro SMAP_SITE instruction
771:    \instruction
    .pushsection __smap_sites, "a"
    .quad 771b
    .popsection
.endm
// clang-format on
#define ASM_STAC SMAP_SITE stac
#define ASM_CLAC SMAP_SITE clac
#else
#define SMAP_SITE(instruction) \
    "771: " instruction "\n\t.pushsection __smap_sites, \"a\"\n\t.quad 771b\n\t.popsection\n\t"
#define ASM_STAC SMAP_SITE("stac")
#define ASM_CLAC SMAP_SITE("clac")
#endif
