/* SPDX-License-Identifier: Apache-2.0
 *
 * devices.c - devices of the host that a jail may use; see sandbox/devices.h.
 *
 * A node is opened by its name once, as a place and not as a device, and what
 * was opened is looked at: a character device with the numbers that the kernel
 * gives to this kind.  The same descriptor goes to the spawner.  Drivers'
 * libraries are found as the dynamic linker finds them. */
#include "sandbox/devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/fd.h"

enum { MOST_NODES = 48, CACHE_MAX = 16 << 20, HEAD_BYTES = 48, ENTRY_BYTES = 24 };

/* Nodes of a kind: names begin so and go on with a number or not at all. */
struct node {
  const char *folder, *head; /* below /dev; folder may be "" */
  bool is_numbered;
  bool is_needed;     /* without one of these there is no such device here */
  int major;          /* 0: the one that /proc/devices has for `driver` */
  int minor;          /* -1: any */
  const char *driver; /* a word of /proc/devices */
};

static const struct kind {
  const char *word, *how; /* how to get it */
  struct node nodes[8];
  const char *const *libraries; /* how their names begin; NULL: none */
} kinds[] = {
    {"nvidia",
     "the driver of NVIDIA is not loaded",
     {{"", "nvidiactl", false, true, 195, 255, NULL},
      {"", "nvidia", true, true, 195, -1, NULL},
      {"", "nvidia-modeset", false, false, 195, 254, NULL},
      {"", "nvidia-uvm", false, false, 0, -1, "nvidia-uvm"},
      {"", "nvidia-uvm-tools", false, false, 0, -1, "nvidia-uvm"},
      {"nvidia-caps", "nvidia-cap", true, false, 0, -1, "nvidia-caps"}},
     (const char *const[]){"libcuda.so", "libcudadebugger.so", "libnvidia-", "libnvcuvid.so",
                           "libnvoptix.so", NULL}},
    {"dri",
     "no graphics driver made a device",
     {{"dri", "renderD", true, true, 226, -1, NULL}, {"dri", "card", true, false, 226, -1, NULL}},
     NULL},
    {"fuse", "as root: modprobe fuse", {{"", "fuse", false, true, 10, 229, NULL}}, NULL},
};

const char *const csn_device_words[] = {"nvidia", "dri", "fuse", NULL};

static const struct kind *
find_kind(csn_str word)
{
  for (size_t i = 0; i < CSN_COUNT(kinds); i++)
    if (csn_str_eq(word, csn_cstr(kinds[i].word)))
      return &kinds[i];
  return NULL;
}

/* ---- nodes ---- */

/* What is there, and why one that is cannot be used. */
struct found {
  csn_devices *to; /* NULL: only look */
  csn_buf names;   /* "nvidia0 nvidiactl" */
  size_t n;
  csn_err why; /* code < 0: the first that cannot be used */
};

static int
driver_major(const char *driver)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
  csn_auto(csn_closep) int fd = open("/proc/devices", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || csn_fd_read_all(fd, &text, NULL) < 0)
    return -1;
  csn_str rest = csn_buf_str(&text), line;
  while (csn_str_line(&rest, &line)) {
    line = csn_str_trim(line);
    size_t space = csn_str_find(line, CSN_STR(" "), 0);
    int64_t major;
    if (space != SIZE_MAX && csn_str_int(csn_strn(line.p, space), &major) &&
        csn_str_eq(csn_str_trim(csn_strn(line.p + space, line.n - space)), csn_cstr(driver)))
      return (int)major;
  }
  return -1;
}

static bool
is_name_of(const struct node *k, const char *name)
{
  size_t n = strlen(k->head);
  const char *digits = name + n;
  if (strncmp(name, k->head, n) != 0 || (*digits != '\0') != k->is_numbered)
    return false;
  return strspn(digits, "0123456789") == strlen(digits) && strlen(digits) < 5;
}

/* Whether this user could open it; root makes a node of its own. */
static int
check_access(int fd, const struct stat *st, const char *name, csn_err *err)
{
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (geteuid() == 0 || access(path, R_OK | W_OK) == 0)
    return 0;
  return csn_fail(
      err, CSN_E_UNSUPPORTED,
      "/dev/%s belongs to user %u and group %u with mode %03o, so this user cannot open "
      "it, nor can its jail: join the group, or run as root",
      name, st->st_uid, st->st_gid, st->st_mode & 0777);
}

static int
check_node(const struct node *k, int fd, const char *name, csn_err *err)
{
  struct stat st;
  int want = k->major ? k->major : driver_major(k->driver);
  if (fstat(fd, &st) < 0)
    return csn_fail_errno(err, "/dev/%s", name);
  int is[2] = {(int)major(st.st_rdev), (int)minor(st.st_rdev)};
  if (!S_ISCHR(st.st_mode) || is[0] != want || (k->minor >= 0 && is[1] != k->minor))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "/dev/%s is not what it should be, the character device %d:%s%.0d", name, want,
                    k->minor < 0 ? "*" : "", k->minor < 0 ? 0 : k->minor);
  return check_access(fd, &st, name, err);
}

static void
add(csn_devices *d, int fd, const char *name)
{
  d->fds = csn_realloc(d->fds, d->n + 1, sizeof *d->fds);
  d->fds[d->n++] = fd;
  csn_buf_addz(&d->names, name);
  csn_buf_addc(&d->names, '\0');
}

static void
take_node(const struct node *k, int folder, const char *entry, struct found *f)
{
  char name[300];
  csn_err err = {0};
  snprintf(name, sizeof name, "%s%s%s", k->folder, *k->folder ? "/" : "", entry);
  int fd = openat(folder, entry, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  int rc = fd < 0 ? csn_fail_errno(&err, "/dev/%s", name) : check_node(k, fd, name, &err);
  if (rc < 0 && f->why.code == 0)
    f->why = err;
  if (rc == 0) {
    csn_buf_addf(&f->names, "%s%s", f->names.n ? " " : "", name);
    f->n++;
  }
  if (rc == 0 && f->to && f->to->n < MOST_NODES)
    add(f->to, fd, name);
  else
    csn_closep(&fd);
}

/* What is needed and not there is in *missing. */
static void
find_nodes(const struct kind *k, struct found *f, char missing[60])
{
  missing[0] = '\0';
  for (const struct node *n = k->nodes; n->head; n++) {
    char path[4096];
    size_t before = f->n;
    snprintf(path, sizeof path, "/dev/%s", n->folder);
    DIR *folder = opendir(path);
    for (struct dirent *d; folder && (d = readdir(folder));)
      if (is_name_of(n, d->d_name))
        take_node(n, dirfd(folder), d->d_name, f);
    if (folder)
      closedir(folder);
    if (n->is_needed && f->n == before && !missing[0])
      snprintf(missing, 60, "/dev/%s%s%s%s", n->folder, *n->folder ? "/" : "", n->head,
               n->is_numbered ? "*" : "");
  }
}

/* ---- libraries ---- */

static uint32_t
number_at(csn_str text, size_t at)
{
  uint32_t n;
  memcpy(&n, text.p + at, sizeof n);
  return n;
}

static const char *
text_at(csn_str text, size_t at)
{
  return at < text.n && memchr(text.p + at, '\0', text.n - at) ? text.p + at : NULL;
}

/* glibc's format of 1998; older ones are before it in the same file. */
void
csn_device_libraries(csn_str cache, bool (*fn)(void *user, const char *name, const char *path),
                     void *user)
{
  csn_str magic = CSN_STR("glibc-ld.so.cache1.1");
  size_t at = csn_str_find(cache, magic, 0);
  if (at == SIZE_MAX)
    return;
  cache = csn_strn(cache.p + at, cache.n - at);
  if (cache.n < HEAD_BYTES)
    return;
  size_t n = number_at(cache, magic.n);
  for (size_t i = 0; i < n && HEAD_BYTES + (i + 1) * ENTRY_BYTES <= cache.n; i++) {
    size_t entry = HEAD_BYTES + i * ENTRY_BYTES;
    const char *name = text_at(cache, number_at(cache, entry + 4));
    const char *path = text_at(cache, number_at(cache, entry + 8));
    if (!name || !path || !fn(user, name, path))
      return;
  }
}

struct library_search {
  csn_devices *to; /* NULL: only count */
  const char *const *heads;
  bool has_usr;
  size_t n, n_visible; /* those that the jail has anyway */
};

/* Of our own machine and size: both are in the first bytes. */
static bool
is_ours(int fd)
{
  unsigned char own[20], theirs[20];
  char path[40];
  csn_auto(csn_closep) int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  csn_auto(csn_closep) int file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return read(self, own, sizeof own) == sizeof own && read(file, theirs, sizeof theirs) == 20 &&
         memcmp(own, theirs, 5) == 0 && memcmp(own + 18, theirs + 18, 2) == 0;
}

static bool
is_taken(const csn_devices *d, const char *name)
{
  const char *p = d->names.p;
  for (size_t i = 0; i < d->n; i++, p += strlen(p) + 1)
    if (i >= d->n_devices && strcmp(p, name) == 0)
      return true;
  return false;
}

static bool
take_library(void *user, const char *name, const char *path)
{
  struct library_search *s = user;
  struct stat st;
  bool wanted = false;
  for (const char *const *h = s->heads; *h && !wanted; h++)
    wanted = strncmp(name, *h, strlen(*h)) == 0;
  if (!wanted || strchr(name, '/') || path[0] != '/' || (s->to && is_taken(s->to, name)))
    return true;
  int fd = open(path, O_PATH | O_CLOEXEC);
  bool good = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && is_ours(fd);
  bool visible = s->has_usr && strncmp(path, "/usr/local/", 11) != 0 &&
                 (strncmp(path, "/usr/", 5) == 0 || strncmp(path, "/lib", 4) == 0);
  s->n += good;
  s->n_visible += good && visible;
  if (good && !visible && s->to && s->to->n < CSN_JAIL_EXTRAS_MAX)
    add(s->to, fd, name);
  else
    csn_closep(&fd);
  return true;
}

static void
find_libraries(const struct kind *k, struct library_search *s)
{
  static const char *const folders[] = {"/usr/lib/x86_64-linux-gnu",
                                        "/usr/lib/aarch64-linux-gnu",
                                        "/usr/lib64",
                                        "/usr/lib",
                                        "/usr/lib/wsl/lib",
                                        "/usr/local/nvidia/lib64",
                                        "/usr/lib/x86_64-linux-gnu/nvidia/current"};
  csn_auto(csn_buf_finip) csn_buf cache = CSN_BUF(CACHE_MAX);
  csn_auto(csn_closep) int fd = open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC);
  s->heads = k->libraries;
  if (fd >= 0 && csn_fd_read_all(fd, &cache, NULL) == 0)
    csn_device_libraries(csn_buf_str(&cache), take_library, s);
  for (size_t i = 0; s->n == 0 && i < CSN_COUNT(folders); i++) {
    DIR *folder = opendir(folders[i]);
    for (struct dirent *d; folder && (d = readdir(folder));) {
      char path[512];
      snprintf(path, sizeof path, "%s/%s", folders[i], d->d_name);
      take_library(s, d->d_name, path);
    }
    if (folder)
      closedir(folder);
  }
}

/* ---- all of it ---- */

static int
open_kind(csn_devices *d, const struct kind *k, csn_err *err)
{
  struct found f = {.to = d, .names = CSN_BUF(4096)};
  char missing[60];
  find_nodes(k, &f, missing);
  csn_buf_fini(&f.names);
  if (f.why.code < 0) {
    if (err)
      *err = f.why;
    return csn_wrap(err, f.why.code, "device %s", k->word);
  }
  if (missing[0])
    return csn_fail(err, CSN_E_UNSUPPORTED, "device %s: there is no %s: %s", k->word, missing,
                    k->how);
  return 0;
}

int
csn_devices_open(csn_devices *d, const char *const *words, bool has_usr, csn_err *err)
{
  *d = (csn_devices){.names = CSN_BUF(1 << 16), .names_fd = -1};
  int rc = 0;
  for (const char *const *w = words; rc == 0 && w && *w; w++) {
    const struct kind *k = find_kind(csn_cstr(*w));
    bool again = false;
    for (const char *const *v = words; v < w; v++)
      again |= strcmp(*v, *w) == 0;
    if (!k)
      rc = csn_fail(err, CSN_E_INVALID,
                    "no device is named \"%.60s\"; there are: nvidia, dri, fuse", *w);
    else if (!again)
      rc = open_kind(d, k, err);
  }
  d->n_devices = d->n;
  for (const char *const *w = words; rc == 0 && w && *w; w++) {
    const struct kind *k = find_kind(csn_cstr(*w));
    struct library_search s = {.to = d, .has_usr = has_usr};
    if (k->libraries)
      find_libraries(k, &s);
  }
  if (rc == 0)
    rc = csn_buf_done(&d->names, "the names of devices", err);
  if (rc < 0)
    csn_devices_close(d);
  return rc;
}

int
csn_devices_ask(csn_devices *d, csn_jail_ask *ask, csn_err *err)
{
  if (d->n == 0)
    return 0;
  if (d->names_fd < 0)
    d->names_fd = memfd_create("caisson-devices", MFD_CLOEXEC);
  if (d->names_fd < 0)
    return csn_fail_errno(err, "memfd_create");
  if (ftruncate(d->names_fd, 0) < 0 || lseek(d->names_fd, 0, SEEK_SET) < 0)
    return csn_fail_errno(err, "the names of devices");
  ask->fds[CSN_JAIL_NAMES] = d->names_fd;
  ask->open.devices = (uint32_t)d->n_devices;
  ask->open.libraries = (uint32_t)(d->n - d->n_devices);
  ask->open.keep_groups = geteuid() != 0;
  ask->extras = d->fds;
  return csn_fd_write_all(d->names_fd, csn_buf_str(&d->names), err);
}

const char *const *
csn_devices_variables(const csn_devices *d)
{
  static const char *const drivers[] = {"LD_LIBRARY_PATH=" CSN_JAIL_DRIVERS_FOLDER, NULL};
  return d->n > d->n_devices ? drivers : NULL;
}

void
csn_devices_close(csn_devices *d)
{
  if (d->names_fd >= 0)
    close(d->names_fd);
  for (size_t i = 0; i < d->n; i++)
    close(d->fds[i]);
  free(d->fds);
  csn_buf_fini(&d->names);
  *d = (csn_devices){.names_fd = -1};
}

void
csn_device_look(const char *word, csn_device_state *out)
{
  const struct kind *k = find_kind(csn_cstr(word));
  struct found f = {.names = CSN_BUF(300)};
  char missing[60];
  *out = (csn_device_state){.state = "absent"};
  if (!k)
    return;
  find_nodes(k, &f, missing);
  if (f.why.code < 0) {
    out->state = "closed";
    snprintf(out->note, sizeof out->note, "%.390s", f.why.msg);
  } else if (missing[0]) {
    snprintf(out->note, sizeof out->note, "no %s: %s", missing, k->how);
  } else {
    struct library_search s = {.has_usr = true};
    if (k->libraries)
      find_libraries(k, &s);
    out->state = "present";
    int n = snprintf(out->note, sizeof out->note, "%s", f.names.p ? f.names.p : "");
    if (k->libraries)
      snprintf(out->note + n, sizeof out->note - (size_t)n, "; %zu libraries", s.n);
  }
  csn_buf_fini(&f.names);
}
