/* SPDX-License-Identifier: Apache-2.0
 *
 * extras.c - devices of the host in one jail, and the libraries that go with
 * them; see jail/extras.h.
 *
 * A helper with a copy of our mounts builds two folders in memory: a /dev with
 * what every jail has and the devices that were asked for, and one with
 * libraries.  What leaves it are two detached trees, which the jail puts over
 * its own (jail/mounts.c).
 *
 * Root makes a node of its own for each device, which belongs to who commands
 * are and to nobody else: the host's would be a stranger's in the jail and
 * mostly closed.  Another user binds the host's, and has there what it has on
 * the host.
 */
#include "jail/extras.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "jail/steps.h"
#include "jail/text.h"

enum { STACK = 64 * 1024, NAME_ROOM = 160 };

struct making {
  const struct csn_home *home;
  const csn_jail_open *open;
  unsigned long base; /* of the jail's ids */
  const char *names;  /* of the devices, then of the libraries, each with its NUL */
  const int *fds;     /* as many */
  int trees[CSN_JAIL_EXTRAS_MAX];
  int dev, drivers; /* what comes of it */
};

/* ---- names ---- */

/* "fuse", "dri/renderD128", "libcuda.so.1": at most one folder, no dots at
 * the beginning of a part. */
static bool
is_plain(const char *name, bool may_have_folder)
{
  size_t n = strlen(name), parts = 1;
  for (size_t i = 0; i < n; i++) {
    char c = name[i];
    bool begins = i == 0 || name[i - 1] == '/';
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '_' || c == '+' || (c == '.' && !begins) ||
                 (c == '/' && !begins && i + 1 < n);
    parts += c == '/';
    if (!plain)
      return false;
  }
  return n > 0 && n < NAME_ROOM / 2 && parts <= (may_have_folder ? 2 : 1);
}

/* The list as text, or NULL: there must be as many plain names as were told. */
static const char *
read_names(int fd, const csn_jail_open *open, size_t *size)
{
  struct stat st;
  if (fstat(fd, &st) < 0 || st.st_size < 2)
    return NULL;
  const char *text = mmap(NULL, *size = (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (text == MAP_FAILED)
    return NULL;
  const char *p = text, *end = text + *size;
  bool good = end[-1] == '\0';
  for (uint32_t i = 0; good && i < open->devices + open->libraries; i++) {
    good = p < end && is_plain(p, i < open->devices);
    if (good)
      p += strlen(p) + 1;
  }
  if (good && p == end)
    return text;
  munmap((void *)(uintptr_t)text, *size);
  return NULL;
}

/* ---- in the helper ---- */

static void
make_node(const struct making *m, const char *path, int fd)
{
  struct stat st;
  if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
    csn_jail_fail("look at the device", path);
  if (mknod(path, S_IFCHR | 0600, st.st_rdev) < 0 ||
      chown(path, (uid_t)(m->base + m->open->uid), (gid_t)(m->base + m->open->gid)) < 0)
    csn_jail_fail("make the device", path);
}

/* Takes the tree: its number may be another's at once. */
static void
put(const char *path, int *tree, uint64_t flags)
{
  int taken = *tree;
  *tree = -1;
  csn_make_file(path, "");
  if (sys_tree_protect(taken, flags, -1) < 0)
    csn_jail_fail("protect", path);
  csn_attach(taken, path);
}

static int
take_tree(const char *path)
{
  if (mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL) < 0)
    csn_jail_fail("make read-only", path);
  int tree = sys_open_tree(AT_FDCWD, path, TREE_RECURSIVE);
  if (tree < 0)
    csn_jail_fail("take the folder", path);
  return tree;
}

static int
build(void *arg)
{
  struct making *m = arg;
  const char *name = m->names;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  umask(022);
  csn_mount_new("tmpfs", "/tmp", MS_NOSUID, "size=1m,nr_inodes=512,mode=755");
  if (chdir("/tmp") < 0)
    csn_jail_fail("enter the folder of devices", "");
  csn_make_devices();
  csn_make_folder("lib");
  for (uint32_t i = 0; i < m->open->devices + m->open->libraries; i++, name += strlen(name) + 1) {
    bool is_device = i < m->open->devices;
    char path[NAME_ROOM];
    size_t n = text_add(path, sizeof path, 0, is_device ? "dev/" : "lib/");
    const char *slash = strchr(name, '/');
    text_add(path, sizeof path, n, name);
    if (slash) {
      char folder[NAME_ROOM] = {0};
      memcpy(folder, path, n + (size_t)(slash - name));
      csn_make_folder(folder);
    }
    if (is_device && m->home->is_root)
      make_node(m, path, m->fds[i]);
    else
      put(path, &m->trees[i], is_device ? ATTR_NOSUID | ATTR_NOEXEC : CSN_LOCKED);
  }
  if (m->home->is_root && (chown("dev", (uid_t)m->base, (gid_t)m->base) < 0 ||
                           chown("lib", (uid_t)m->base, (gid_t)m->base) < 0))
    csn_jail_fail("give the folder of devices away", "");
  m->dev = take_tree("dev");
  m->drivers = take_tree("lib");
  _exit(0);
}

/* ---- in the spawner ---- */

/* The helper's mounts are a copy, in which descriptors of ours lead nowhere:
 * trees are taken here. */
static const char *
take_trees(struct making *m)
{
  for (uint32_t i = m->home->is_root ? m->open->devices : 0;
       i < m->open->devices + m->open->libraries; i++)
    if ((m->trees[i] = csn_home_tree(m->home, m->fds[i])) < 0)
      return i < m->open->devices ? "bind a device" : "bind a library of a device";
  return NULL;
}

static void
close_all(const int *fds, size_t n)
{
  int e = errno;
  for (size_t i = 0; i < n; i++)
    if (fds[i] >= 0)
      close(fds[i]);
  errno = e;
}

const char *
csn_extras_make(struct csn_jails *s, const struct csn_request *r, const struct csn_ids *ids,
                struct csn_jail_plan *plan, csn_jail_note *why)
{
  static _Alignas(16) char stack[STACK];
  struct making m = {.home = &s->home,
                     .open = &r->open,
                     .base = ids->base,
                     .fds = r->extras,
                     .dev = -1,
                     .drivers = -1};
  size_t size = 0;
  plan->fds[CSN_JAIL_DEV] = plan->fds[CSN_JAIL_DRIVERS] = -1;
  if (r->fds[CSN_JAIL_NAMES] < 0)
    return NULL;
  memset(m.trees, -1, sizeof m.trees);
  errno = EPROTO;
  m.names = read_names(r->fds[CSN_JAIL_NAMES], &r->open, &size);
  if (!m.names)
    return "understand the names of devices";
  const char *failed = take_trees(&m);
  if (!failed) {
    csn_jail_tell(why);
    if (csn_start_beside(build, &m, CLONE_NEWNS, stack, sizeof stack) < 0)
      failed = "start a process";
    csn_jail_tell(NULL);
    if (!failed && m.drivers < 0) {
      failed = why->step;
      errno = why->error ? why->error : EIO;
    }
  }
  close_all(m.trees, CSN_JAIL_EXTRAS_MAX);
  munmap((void *)(uintptr_t)m.names, size);
  plan->fds[CSN_JAIL_DEV] = m.dev;
  plan->fds[CSN_JAIL_DRIVERS] = m.drivers;
  return failed;
}

void
csn_extras_drop(struct csn_jail_plan *plan)
{
  close_all(&plan->fds[CSN_JAIL_DEV], 1);
  close_all(&plan->fds[CSN_JAIL_DRIVERS], 1);
}
