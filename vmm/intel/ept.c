// The format of EPT entries (SDM vol. 3, "EPT Translation Mechanism").
#include "vmm/intel/vmx.h"

#define EPT_READ       BIT(0)
#define EPT_WRITE      BIT(1)
#define EPT_EXECUTE    BIT(2)
#define EPT_RIGHTS     (EPT_READ | EPT_WRITE | EPT_EXECUTE)
#define EPT_TYPE_UC    (0ull << 3)
#define EPT_TYPE_WB    (6ull << 3)
#define EPT_IGNORE_PAT BIT(6)
#define EPT_LARGE      BIT(7)
#define EPT_ACCESSED   BIT(8)
#define EPT_DIRTY      BIT(9)
#define EPT_ADDRESS    0x000ffffffffff000ull

static uint64_t rights_bits(unsigned rights) {
    return (rights & ACCESS_READ ? EPT_READ : 0) | (rights & ACCESS_WRITE ? EPT_WRITE : 0) |
           (rights & ACCESS_EXEC ? EPT_EXECUTE : 0);
}

static uint64_t ept_make(paddr_t pa, unsigned level, unsigned rights, bool leaf, bool uncached) {
    uint64_t entry = pa | rights_bits(rights);
    if (!leaf)
        return entry;
    // Guest RAM is write-back whatever the guest's PAT says: nothing else writes to it around caches.
    entry |= uncached ? EPT_TYPE_UC : EPT_TYPE_WB | EPT_IGNORE_PAT;
    return level > 1 ? entry | EPT_LARGE : entry;
}

static unsigned ept_rights(uint64_t entry) {
    return (entry & EPT_READ ? ACCESS_READ : 0) | (entry & EPT_WRITE ? ACCESS_WRITE : 0) |
           (entry & EPT_EXECUTE ? ACCESS_EXEC : 0);
}

static uint64_t ept_with_rights(uint64_t entry, unsigned rights) {
    return (entry & ~EPT_RIGHTS) | rights_bits(rights);
}

const struct stage2_format ept_format = {
    .make = ept_make,
    .rights = ept_rights,
    .with_rights = ept_with_rights,
    .present = EPT_RIGHTS,
    .large = EPT_LARGE,
    .address = EPT_ADDRESS,
    .write = EPT_WRITE,
    .accessed = EPT_ACCESSED,
    .dirty = EPT_DIRTY,
};
