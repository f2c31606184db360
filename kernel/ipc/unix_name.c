// Names of AF_UNIX sockets: paths in the file system and abstract names.
#include "fs/inode.h"
#include "ipc/unix.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "proc/process.h"

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)
#define HASH_SIZE   64u

static struct list_node
    abstract_names[HASH_SIZE]; // by hash; covered by unix_lock; zero: not used yet

struct unix_address *unix_address_get(struct unix_address *a) {
    if (a)
        __atomic_fetch_add(&a->refs, 1, __ATOMIC_RELAXED);
    return a;
}

// The inode is given back at release already (unix_unbind), since that may sleep.
void unix_address_put(struct unix_address *a) {
    if (__atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL) == 0)
        kfree(a);
}

void unix_address_out(const struct unix_address *from, struct socket_message *m) {
    if (!from || !m->want_name)
        return;
    memcpy(&m->name, &from->name, MIN(from->len, sizeof(m->name)));
    m->name_len = from->len;
}

static struct unix_address *address_alloc(const struct __kernel_sockaddr_storage *a, unsigned len) {
    struct unix_address *address = kzalloc(sizeof(*address));
    if (!address)
        return NULL;
    address->refs = 1;
    list_init(&address->hash);
    memcpy(&address->name, a, len);
    address->len = len;
    return address;
}

// 0 for an address that names something: *path says whether it is a path.
static int check_address(const struct __kernel_sockaddr_storage *a, unsigned len, bool *path) {
    const struct sockaddr_un *name = (const void *)a;
    if (len <= PATH_OFFSET || len > sizeof(*name) || name->sun_family != AF_UNIX)
        return -EINVAL;
    *path = name->sun_path[0] != 0;
    return 0;
}

// ---- abstract names -----------------------------------------------------------------------------

static struct list_node *bucket(const char *name, unsigned len) {
    uint32_t h = 5381;
    for (unsigned i = PATH_OFFSET; i < len; i++)
        h = h * 33 + (uint8_t)name[i];
    struct list_node *b = &abstract_names[h % HASH_SIZE];
    if (!b->next)
        list_init(b);
    return b;
}

// unix_lock held. Each type has its own name space, as in Linux.
static struct unix_address *abstract_find(int type, const void *name, unsigned len) {
    struct unix_address *a;
    list_for_each (a, bucket(name, len), hash)
        if (a->len == len && a->socket->base.type == type && !memcmp(&a->name, name, len))
            return a;
    return NULL;
}

static int abstract_bind(struct unix_socket *u, struct unix_address *a) {
    spin_lock(&unix_lock);
    bool taken = abstract_find(u->base.type, &a->name, a->len) != NULL;
    if (!taken) {
        list_add_tail(bucket((char *)&a->name, a->len), &a->hash);
        a->socket = u;
        u->address = a;
    }
    spin_unlock(&unix_lock);
    return taken ? -EADDRINUSE : 0;
}

// A free abstract name of five hexadecimal digits: unix(7), "Autobind feature".
static int autobind_locked(struct unix_socket *u) {
    static uint32_t ordinal; // races only cost another try
    if (u->address)
        return 0;
    struct __kernel_sockaddr_storage zero = {0};
    struct unix_address *a = address_alloc(&zero, PATH_OFFSET + 6);
    if (!a)
        return -ENOMEM;
    a->name.sun_family = AF_UNIX;
    for (unsigned tries = 0; tries <= 0xfffff; tries++) {
        snprintf(a->name.sun_path + 1, 6, "%05x", ++ordinal & 0xfffff);
        if (!abstract_bind(u, a))
            return 0;
    }
    unix_address_put(a);
    return -ENOSPC;
}

int unix_autobind(struct unix_socket *u) {
    mutex_lock(&u->bind_lock);
    int err = autobind_locked(u);
    mutex_unlock(&u->bind_lock);
    return err;
}

// ---- paths --------------------------------------------------------------------------------------

static int path_bind(struct unix_socket *u, struct unix_address *a) {
    int err = vfs_mknod(a->name.sun_path, S_IFSOCK | 0777, 0);
    if (err)
        return err == -EEXIST ? -EADDRINUSE : err;
    struct dentry *d = path_walk(NULL, a->name.sun_path, WALK_NOFOLLOW);
    if (IS_ERR(d))
        return PTR_ERR(d);
    inode_get(d->inode);
    a->inode = d->inode;
    dentry_put(d);
    a->len = PATH_OFFSET + strlen(a->name.sun_path) + 1;
    spin_lock(&unix_lock);
    a->inode->socket = a;
    a->socket = u;
    u->address = a;
    spin_unlock(&unix_lock);
    return 0;
}

static struct unix_socket *path_find(int type, const char *path) {
    struct dentry *d = path_walk(NULL, path, 0);
    if (IS_ERR(d))
        return (void *)d;
    struct unix_socket *found = ERR_PTR(-ECONNREFUSED);
    spin_lock(&unix_lock);
    struct unix_address *a = d->inode->socket;
    if (a && a->socket->base.type == type)
        unix_get(found = a->socket);
    else if (a)
        found = ERR_PTR(-EPROTOTYPE);
    spin_unlock(&unix_lock);
    dentry_put(d);
    return found;
}

// ---- both ---------------------------------------------------------------------------------------

static int bind_locked(struct unix_socket *u, const struct __kernel_sockaddr_storage *name,
                       unsigned len, bool path) {
    if (u->address)
        return -EINVAL;
    struct unix_address *a = address_alloc(name, len);
    if (!a)
        return -ENOMEM;
    int err = path ? path_bind(u, a) : abstract_bind(u, a);
    if (err)
        unix_address_put(a);
    return err;
}

int unix_bind(struct socket *s, const struct __kernel_sockaddr_storage *a, unsigned len) {
    struct unix_socket *u = unix_of(s);
    if (len == PATH_OFFSET && ((const struct sockaddr_un *)a)->sun_family == AF_UNIX)
        return u->address ? -EINVAL : unix_autobind(u);
    bool path;
    int err = check_address(a, len, &path);
    if (err)
        return err;
    mutex_lock(&u->bind_lock);
    err = bind_locked(u, a, len, path);
    mutex_unlock(&u->bind_lock);
    return err;
}

struct unix_socket *unix_find(int type, const struct __kernel_sockaddr_storage *a, unsigned len) {
    bool path;
    int err = check_address(a, len, &path);
    if (err)
        return ERR_PTR(err);
    if (path) {
        char text[UNIX_PATH_MAX + 1] = {0};
        memcpy(text, ((const struct sockaddr_un *)a)->sun_path, len - PATH_OFFSET);
        return path_find(type, text);
    }
    struct unix_socket *found = NULL;
    spin_lock(&unix_lock);
    struct unix_address *address = abstract_find(type, a, len);
    if (address)
        unix_get(found = address->socket);
    spin_unlock(&unix_lock);
    return found ? found : ERR_PTR(-ECONNREFUSED);
}

void unix_unbind(struct unix_socket *u) {
    struct inode *inode = NULL;
    spin_lock(&unix_lock);
    struct unix_address *a = u->address;
    if (a && a->socket == u) { // not a connection that only shows its listener's name
        a->socket = NULL;
        list_remove(&a->hash);
        inode = a->inode;
        a->inode = NULL;
        if (inode)
            inode->socket = NULL;
    }
    spin_unlock(&unix_lock);
    if (inode)
        inode_put(inode);
}

int unix_name(struct socket *s, bool peer, struct __kernel_sockaddr_storage *a) {
    struct unix_socket *u = unix_of(s);
    struct sockaddr_un *out = (void *)a;
    spin_lock(&unix_lock);
    const struct unix_socket *of = peer ? u->peer : u;
    int len = of ? (int)PATH_OFFSET : -ENOTCONN;
    out->sun_family = AF_UNIX;
    if (of && of->address) {
        len = of->address->len;
        memcpy(out, &of->address->name, MIN(len, (int)sizeof(*a)));
    }
    spin_unlock(&unix_lock);
    return len;
}
