// The cache of names. A dentry lives while somebody refers to it; after that it stays, found by
// later walks, until it is among the oldest of more than UNUSED_MAX.
#include "fs/dentry.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"

#define BUCKETS    2048u
#define UNUSED_MAX 4096u

struct spinlock dentry_lock = SPINLOCK_INIT;
static struct list_node buckets[BUCKETS];           // ->next NULL: never used
static struct list_node unused = LIST_INIT(unused); // oldest first; may hold used ones too
static unsigned unused_count, total_count;

static struct list_node *bucket(const struct dentry *parent, uint32_t hash) {
    uint64_t key = ((uint64_t)parent >> 6) * 0x9e3779b97f4a7c15ull + hash;
    struct list_node *head = &buckets[(key ^ key >> 17) % BUCKETS];
    if (!head->next)
        list_init(head);
    return head;
}

static struct dentry *dentry_alloc(struct dentry *parent, const char *name, size_t len,
                                   uint32_t hash, struct inode *i) {
    struct dentry *d = kzalloc(sizeof(*d) + len + 1);
    if (!d)
        return NULL;
    d->refs = 1;
    d->name = d->inline_name;
    memcpy(d->name, name, len);
    d->name_len = len;
    d->name_hash = hash;
    d->inode = i;
    d->parent = parent ? parent : d;
    d->sb = parent ? parent->sb : i->sb;
    list_init(&d->children);
    list_init(&d->sibling);
    list_init(&d->hash);
    list_init(&d->lru);
    __atomic_fetch_add(&total_count, 1, __ATOMIC_RELAXED);
    return d;
}

struct dentry *dentry_alloc_root(struct inode *i) {
    return dentry_alloc(NULL, "", 0, 0, i);
}

unsigned dentry_count(void) {
    return READ_ONCE(total_count);
}

void dentry_get(struct dentry *d) {
    __atomic_fetch_add(&d->refs, 1, __ATOMIC_RELAXED);
}

static void lru_remove(struct dentry *d) {
    if (!list_unlinked(&d->lru)) {
        list_remove(&d->lru);
        unused_count--;
    }
}

// Takes d out of the cache. dentry_lock held.
static void unhash(struct dentry *d) {
    list_remove(&d->hash);
    list_remove(&d->sibling);
}

// Frees an unhashed dentry without references; returns its parent, whose reference it held.
static struct dentry *dentry_free(struct dentry *d) {
    struct dentry *parent = d->parent == d ? NULL : d->parent;
    if (d->inode)
        inode_put(d->inode);
    if (d->name != d->inline_name)
        kfree(d->name);
    kfree(d);
    __atomic_fetch_sub(&total_count, 1, __ATOMIC_RELAXED);
    return parent;
}

// Drops one reference. Returns d when it has to be freed, else NULL.
static struct dentry *drop(struct dentry *d) {
    uint32_t refs = __atomic_load_n(&d->refs, __ATOMIC_RELAXED);
    while (refs > 1)
        if (__atomic_compare_exchange_n(&d->refs, &refs, refs - 1, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return NULL;
    // Walks take references to cached names under the lock, so 1 -> 0 happens only under it.
    spin_lock(&dentry_lock);
    if (__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL)) {
        spin_unlock(&dentry_lock);
        return NULL;
    }
    bool keep = !list_unlinked(&d->hash);
    if (!keep) {
        lru_remove(d);
        list_remove(&d->sibling);
    } else if (list_unlinked(&d->lru)) {
        list_add_tail(&unused, &d->lru);
        unused_count++;
    }
    spin_unlock(&dentry_lock);
    return keep ? NULL : d;
}

static void put_chain(struct dentry *d) {
    while (d && (d = drop(d)))
        d = dentry_free(d);
}

// Frees one of the oldest unused names (of `sb`, if given). False: there is none.
static bool shrink_one(struct superblock *sb) {
    struct dentry *d, *next, *victim = NULL;
    spin_lock(&dentry_lock);
    list_for_each_safe(d, next, &unused, lru) {
        if (sb && d->sb != sb)
            continue;
        lru_remove(d);
        if (__atomic_load_n(&d->refs, __ATOMIC_RELAXED))
            continue; // in use again; it comes back with its last put
        unhash(d);
        victim = d;
        break;
    }
    spin_unlock(&dentry_lock);
    if (victim)
        put_chain(dentry_free(victim));
    return victim;
}

void dentry_put(struct dentry *d) {
    put_chain(d);
    while (unlikely(READ_ONCE(unused_count) > UNUSED_MAX) && shrink_one(NULL))
        ;
}

void dentry_prune(struct superblock *sb) {
    while (shrink_one(sb))
        ;
}

struct dentry *dentry_find(struct dentry *parent, const char *name, size_t len, uint32_t hash) {
    struct dentry *d;
    list_for_each (d, bucket(parent, hash), hash) {
        if (d->name_hash == hash && d->parent == parent && d->name_len == len &&
            !memcmp(d->name, name, len))
            return d;
    }
    return NULL;
}

// Makes d findable. dentry_lock held.
static void hash_in(struct dentry *d) {
    list_add_head(bucket(d->parent, d->name_hash), &d->hash);
    list_add_tail(&d->parent->children, &d->sibling);
}

struct dentry *dentry_lookup(struct dentry *parent, const char *name, size_t len) {
    struct inode *dir = parent->inode, *i;
    uint32_t hash = name_hash(name, len);
    spin_lock(&dentry_lock);
    struct dentry *d = dentry_find(parent, name, len, hash);
    if (d)
        dentry_get(d);
    spin_unlock(&dentry_lock);
    if (d)
        return d;
    if (!dir->nlink) // removed, but somebody still stands in it
        return ERR_PTR(-ENOENT);
    i = dir->ops->lookup(dir, name, len);
    if (IS_ERR(i)) {
        if (PTR_ERR(i) != -ENOENT)
            return (void *)i;
        i = NULL;
    }
    d = dentry_alloc(parent, name, len, hash, i);
    if (!d) {
        if (i)
            inode_put(i);
        return ERR_PTR(-ENOMEM);
    }
    dentry_get(parent);
    if (!parent->sb->uncached) {
        spin_lock(&dentry_lock);
        hash_in(d);
        spin_unlock(&dentry_lock);
    }
    return d;
}

void dentry_bind(struct dentry *d, struct inode *i) {
    spin_lock(&dentry_lock);
    ASSERT(!d->inode);
    d->inode = i;
    spin_unlock(&dentry_lock);
}

void dentry_delete(struct dentry *d) {
    struct dentry *child, *next;
    struct list_node doomed = LIST_INIT(doomed);
    spin_lock(&dentry_lock);
    unhash(d);
    d->deleted = true;
    // Cached negative names below a removed directory would keep it alive.
    list_for_each_safe(child, next, &d->children, sibling) {
        if (__atomic_load_n(&child->refs, __ATOMIC_RELAXED))
            continue;
        lru_remove(child);
        unhash(child);
        list_add_tail(&doomed, &child->lru);
    }
    spin_unlock(&dentry_lock);
    list_for_each_safe(child, next, &doomed, lru) {
        list_remove(&child->lru);
        put_chain(dentry_free(child));
    }
}

void dentry_move(struct dentry *d, struct dentry *parent, char *name) {
    struct dentry *old_parent = d->parent;
    char *old_name = d->name;
    dentry_get(parent);
    spin_lock(&dentry_lock);
    unhash(d);
    d->name = name;
    d->name_len = strlen(name);
    d->name_hash = name_hash(name, d->name_len);
    d->parent = parent;
    hash_in(d);
    spin_unlock(&dentry_lock);
    if (old_name != d->inline_name)
        kfree(old_name);
    dentry_put(old_parent);
}

bool dentry_is_below(const struct dentry *d, const struct dentry *ancestor) {
    for (;; d = d->parent) {
        if (d == ancestor)
            return true;
        if (d->parent == d)
            return false;
    }
}
