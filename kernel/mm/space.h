// Address spaces of UserWorlds: regions (what should be there) and page tables (what is there).
//
// A region is a range with rights and a source: anonymous memory, or a file's page cache, or what a
// driver supplies. Pages come on demand. fork() shares whole page-table pages copy-on-write.
#pragma once
#include "lib/list.h"
#include "lib/tree.h"
#include "mm/frame.h"
#include "sync/mutex.h"

struct file;
struct region;
struct space;

struct region_ops {
    // Supplies the frame of page `index` (offset in pages in the source) with a reference for the
    // caller. `write`: the mapping is shared and will be written (mark dirty). 0, -EFAULT (past the
    // end: SIGBUS), -ENOMEM, -EIO. May sleep; called with the space's lock held.
    int (*fault)(struct region *r, uint64_t index, bool write, struct frame **out);
    // The region was copied by fork or a split / goes away. Optional.
    void (*open)(struct region *r);
    void (*close)(struct region *r);
    // The page if it is valid in memory right now, with a reference; else NULL. Must not sleep; also
    // called with the page tables' lock held. Optional: faults then map neighbours, too.
    struct frame *(*peek)(struct region *r, uint64_t index);
};

struct region {
    struct tree_node node;
    struct space *space;
    uint64_t start, end; // page aligned, [start, end)
    int prot;            // PROT_*
    int flags;           // MAP_SHARED or MAP_PRIVATE, MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_NORESERVE
    uint64_t pgoff;      // page of the source at `start`
    struct file *file;   // reference held; NULL: private anonymous memory
    const struct region_ops *ops;       // NULL: private anonymous memory
    void *data;                         // the driver's
    bool no_huge, want_huge, dont_fork; // madvise
};

// Told when translations of a space change: how EPT follows guest memory (vmm/). The first two are
// called with tables_lock (mm/rmap.h) held: must not sleep.
struct space_notifier {
    struct list_node node, all_node;
    bool pending; // told, not flushed yet; atomic
    // [start, end) is about to be unmapped, replaced or made less permissive.
    void (*invalidate)(struct space_notifier *n, uint64_t start, uint64_t end);
    // fork(): everything private has become read-only.
    void (*write_protect_all)(struct space_notifier *n);
    // Called after these two, before the frames concerned are used for anything else: no processor
    // may use what was invalidated when it returns. No spin lock held, interrupts on; must not touch
    // user memory or change the list of notifiers. Optional.
    void (*flush)(struct space_notifier *n);
};

#define LEFT_TABLES 16
struct space {
    uint32_t refs;     // users: as long as there are any, regions and pages exist
    uint32_t keeps;    // of the structure alone; all users together count as one
    struct mutex lock; // regions, brk, sizes
    struct tree regions;
    paddr_t root; // PML4
    uint64_t brk_start, brk;
    uint64_t mmap_base;         // new mappings are placed downwards from here
    uint64_t pages_virtual;     // reserved, in pages (statm, RLIMIT_AS)
    uint64_t pages_data;        // of these, private and writable (RLIMIT_DATA)
    uint64_t pages_mapped;      // resident, in pages (statm); covered by tables_lock
    bool lock_future;           // mlockall(MCL_FUTURE): new mappings are populated
    struct region *recent;      // the region that space_find() found last; NULL: none
    uint64_t cpus_active;       // processors whose CR3 is this space, for TLB shootdown
    struct list_node notifiers; // covered by tables_lock
    // Grows with every call of a notifier, under tables_lock: who reads it, then a translation
    // (space_get_frame), may use the translation only if it still is the same afterwards, checked
    // under a lock that its notifier takes.
    struct frame *left_tables[LEFT_TABLES]; // shared tables replaced by copies, held till the flush
    unsigned left_count;
    uint64_t invalidations;
    uint64_t arg_start, arg_end, env_start, env_end; // for /proc/PID/cmdline
};

struct space *space_create(void);               // NULL: out of memory
struct space *space_fork(struct space *parent); // ERR_PTR on failure
void space_get(struct space *s);
void space_put(struct space *s); // the last one frees every page; may sleep
// Keep the structure, not what is in it: for the VMM, whose VM must not keep the memory of a process
// alive that ended (it has kvm_run mapped, which would keep the VM alive). Notifiers may stay.
void space_keep(struct space *s);
void space_unkeep(struct space *s);
// Loads CR3 if needed; s NULL: a kernel world, keep whatever is loaded. Interrupts off.
void space_activate(struct space *s);

// The system calls' work; addresses and lengths as the user gave them. Results as in mmap(2) etc.
// They take the lock themselves. `file` NULL: anonymous.
long space_map(struct space *s, uint64_t addr, uint64_t len, int prot, int flags, struct file *file,
               uint64_t offset);
int space_unmap(struct space *s, uint64_t addr, uint64_t len);
int space_protect(struct space *s, uint64_t addr, uint64_t len, int prot);
long space_remap(struct space *s, uint64_t old, uint64_t old_len, uint64_t new_len, int flags,
                 uint64_t new_addr);
int space_advise(struct space *s, uint64_t addr, uint64_t len, int advice);
uint64_t space_set_brk(struct space *s, uint64_t brk);

#define ACCESS_READ  1
#define ACCESS_WRITE 2
#define ACCESS_EXEC  4
// A user access faulted (or the VMM wants a page): makes `addr` accessible that way. Returns 0,
// -EFAULT (no region or no right: SIGSEGV), -EIO (beyond the file: SIGBUS), -ENOMEM. Sleeps.
int space_fault(struct space *s, uint64_t addr, unsigned access);
// As space_fault, then returns the frame with a reference and whether the mapping is writable, and
// the mapping's size (PAGE_SIZE or LARGE_PAGE_SIZE). For the VMM and futexes on shared memory.
int space_get_frame(struct space *s, uint64_t addr, unsigned access, struct frame **frame,
                    bool *writable, uint64_t *size);
// What the page tables hold now for an address. Entries are as in mm/pte.h for 4 KB pages; 0: nothing
// that may be touched.
struct space_view {
    uint64_t entry; // of the page at addr, with PTE_WRITE only if all levels allow writing
    uint64_t size;  // of the mapping: PAGE_SIZE or LARGE_PAGE_SIZE
    const uint64_t
        *entries;  // in the table of this one entry (NULL: 2 MB page): neighbours may be read
    uint64_t mask; // to be applied to these
};
// Looks without faulting anything in and without taking references. True: there is a page. addr below
// USER_END, s in use. tables_lock (mm/rmap.h) held; the view and its frames are good until it is let
// go, and the frames as long as the caller's notifier has not been told otherwise. For the VMM.
bool space_peek(struct space *s, uint64_t addr, struct space_view *view);
// The region that contains addr, or NULL. Lock held.
struct region *space_find(struct space *s, uint64_t addr);
// Fills in the list members; the three operations are set by the caller. Both may sleep.
void space_add_notifier(struct space *s, struct space_notifier *n);
// After it returns none of the operations runs any more.
void space_remove_notifier(struct space *s, struct space_notifier *n);
// Calls fn for every region in order with the lock held (for /proc/PID/maps).
void space_for_each(struct space *s, void (*fn)(struct region *r, void *arg), void *arg);
// Reads or writes another process's memory (procfs, debuggers); returns bytes done or -EFAULT.
long space_copy(struct space *s, uint64_t addr, void *buf, size_t n, bool write);

// The page-fault exception handler calls this first; true: handled. (cpu/ calls it, mm/ implements)
struct trap_frame;
bool page_fault(struct trap_frame *frame, uint64_t addr);
