/* SPDX-License-Identifier: Apache-2.0
 *
 * storage.c - storage of others in a jail: FUSE file systems that are made here
 * and served by the harness.
 *
 * The spawner has opened /dev/fuse for us, with the right to our user namespace
 * and no other.  The file systems belong to that namespace: they are on no path
 * of the host, no process of the host is let into them, and they end with the
 * jail.  Whoever holds the descriptors answers for them, and when nobody does any
 * more, each access fails at once.
 */
#include "jail/storage.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "jail/steps.h"
#include "jail/text.h"

enum { STACK = 16 * 1024 };

/* ---- in the spawner ---- */

struct opening {
  const struct csn_home *home;
  const struct csn_ids *ids;
  int *fds;
  size_t n;
  int error;
};

/* The kernel makes a FUSE file system only in the user namespace in which its
 * /dev/fuse was opened; the host's user opens it, as whoever that is. */
static int
open_devices(void *arg)
{
  struct opening *o = arg;
  bool is_good = !o->home->ranged || setns(o->ids->users, CLONE_NEWUSER) == 0;
  for (size_t i = 0; is_good && i < o->n; i++)
    is_good = (o->fds[i] = open("/dev/fuse", O_RDWR | O_CLOEXEC)) >= 0;
  o->error = is_good ? 0 : errno;
  _exit(0);
}

const char *
csn_storage_open(const struct csn_home *home, const struct csn_ids *ids, struct csn_jail_plan *plan)
{
  static _Alignas(16) char stack[STACK];
  struct opening o = {
      .home = home, .ids = ids, .fds = &plan->fds[CSN_JAIL_FUSE], .n = plan->open.mounts};
  memset(o.fds, -1, CSN_JAIL_MOUNTS_MAX * sizeof(int));
  if (o.n == 0)
    return NULL;
  if (csn_start_beside(open_devices, &o, 0, stack, sizeof stack) < 0)
    return "start a process";
  errno = o.error;
  return o.error ? "open /dev/fuse" : NULL;
}

void
csn_storage_drop(const struct csn_jail_plan *plan)
{
  for (int i = CSN_JAIL_FUSE; i <= CSN_JAIL_FUSE_LAST; i++)
    if (plan->fds[i] > 0)
      close(plan->fds[i]);
}

/* ---- in the jail ---- */

void
csn_jail_storage_each(const struct csn_jail_plan *plan,
                      void (*fn)(const struct csn_jail_plan *plan, uint32_t i, bool writable,
                                 const char *path))
{
  struct stat st;
  int fd = plan->fds[CSN_JAIL_STORAGE];
  if (plan->open.mounts == 0)
    return;
  if (fd <= 0 || fstat(fd, &st) < 0 || st.st_size < 3)
    csn_jail_fail("look at", "the list of mounts");
  size_t size = (size_t)st.st_size;
  const char *text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0), *end = text + size;
  if (text == MAP_FAILED || end[-1] != '\0')
    csn_jail_fail("read", "the list of mounts");
  const char *p = text;
  for (uint32_t i = 0; i < plan->open.mounts && p + 1 < end; i++, p += strlen(p) + 1)
    fn(plan, i, p[0] == 'w', p + 1);
  munmap((void *)(uintptr_t)text, size);
}

static bool
is_beneath(const char *path, const char *folder)
{
  size_t n = strlen(folder);
  return strncmp(path, folder, n) == 0 && path[n] == '/';
}

static void
make_place(const struct csn_jail_plan *plan, uint32_t i, bool writable, const char *path)
{
  (void)i, (void)writable;
  if (!is_beneath(path, plan->open.root))
    csn_make_folders(path);
}

/* The folder is the root file system's and can take no other. */
static void
mount_mnt(const struct csn_jail_plan *plan, uint32_t i, bool writable, const char *path)
{
  static bool is_mounted;
  (void)plan, (void)i, (void)writable;
  if (is_mounted || !is_beneath(path, "/mnt"))
    return;
  csn_mount_new("tmpfs", "/mnt", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                "size=256k,nr_inodes=256,mode=755");
  is_mounted = true;
}

void
csn_jail_storage_places(const struct csn_jail_plan *plan)
{
  csn_jail_storage_each(plan, mount_mnt);
  csn_jail_storage_each(plan, make_place);
}

/* Through no link: what was in the workspace before is nobody's word. */
static int
open_place(const char *path)
{
  char part[CSN_JAIL_ROOT_MAX];
  int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (const char *p = path; fd >= 0 && *p == '/';) {
    size_t n = strcspn(++p, "/");
    memcpy(part, p, n < sizeof part ? n : sizeof part);
    part[n < sizeof part ? n : sizeof part - 1] = '\0';
    int next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close(fd);
    fd = next;
    p += n;
  }
  if (fd < 0)
    csn_jail_fail("find the folder for the mount", path);
  return fd;
}

static void
mount_one(const struct csn_jail_plan *plan, uint32_t i, bool writable, const char *path)
{
  char options[160], at[40];
  size_t n = text_add(options, sizeof options, 0, "fd=");
  n = text_number(options, sizeof options, n, (uint64_t)plan->fds[CSN_JAIL_FUSE + i]);
  n = text_add(options, sizeof options, n, ",rootmode=40000,user_id=");
  n = text_number(options, sizeof options, n, plan->open.uid);
  n = text_add(options, sizeof options, n, ",group_id=");
  n = text_number(options, sizeof options, n, plan->open.gid);
  text_add(options, sizeof options, n, ",allow_other,default_permissions");
  int place = open_place(path);
  n = text_add(at, sizeof at, 0, "/proc/self/fd/");
  text_number(at, sizeof at, n, (uint64_t)place);
  unsigned long flags = MS_NOSUID | MS_NODEV | (writable ? 0 : MS_RDONLY);
  if (mount("storage", at, "fuse", flags, options) < 0)
    csn_jail_fail("mount storage at", path);
  close(place);
}

/* What is in it must come from where it is kept: so a wrong key, a missing
 * bucket or a dead server is known before the first command. */
static void
look_into(const struct csn_jail_plan *plan, uint32_t i, bool writable, const char *path)
{
  (void)plan, (void)i, (void)writable;
  DIR *d = opendir(path);
  if (!d)
    csn_jail_fail("look into the mount", path);
  errno = 0;
  if (!readdir(d) && errno)
    csn_jail_fail("look into the mount", path);
  closedir(d);
}

void
csn_jail_storage(const struct csn_jail_plan *plan)
{
  csn_jail_frame head;
  const int *fds = &plan->fds[CSN_JAIL_FUSE];
  if (plan->open.mounts == 0)
    return;
  if (!csn_jail_read(&head, sizeof head) || head.kind != CSN_JAIL_MOUNT || head.length)
    _exit(1); /* the harness gave up */
  csn_jail_storage_each(plan, mount_one);
  if (!csn_jail_hand_over(CSN_JAIL_MOUNTED, fds, plan->open.mounts))
    csn_jail_fail("hand over the mounts", "");
  for (uint32_t i = 0; i < plan->open.mounts; i++)
    close(fds[i]);
  csn_jail_storage_each(plan, look_into);
}
