/* SPDX-License-Identifier: Apache-2.0
 *
 * cgroup_find.c - which controllers this machine has for us, and where.
 *
 * Version 1: below the group that this process is in.  Version 2: a group with
 * processes in it cannot hand controllers on, so from our own group upward the
 * first is taken that lets us make a folder and gives that folder memory or
 * process counts.  Where our own group is the last resort, or was delegated to
 * us, and holds nobody but the harness and this process, both move into a leaf
 * of it first, as its manager expects.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "jail/cgroup.h"
#include "jail/sys.h"
#include "jail/text.h"

#define LEAF "caisson.leaf"

enum { VIEW_MAX = 1 << 20 };

/* ---- small files ---- */

bool
csn_cgroup_read(int dir, const char *path, char *to, size_t room)
{
  int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
  size_t n = 0;
  ssize_t got = -1;
  while (fd >= 0 && n + 1 < room && (got = read(fd, to + n, room - 1 - n)) > 0)
    n += (size_t)got;
  to[n] = '\0';
  if (fd >= 0)
    close(fd);
  return fd >= 0 && (n || got == 0);
}

bool
csn_cgroup_write(int dir, const char *path, const char *text)
{
  int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  size_t n = strlen(text);
  bool done = write(fd, text, n) == (ssize_t)n;
  int e = errno;
  close(fd);
  errno = e;
  return done;
}

uint64_t
csn_cgroup_field(const char *text, const char *word)
{
  size_t n = strlen(word);
  while (text) {
    if (strncmp(text, word, n) == 0) {
      text += n;
      return text_take(&text);
    }
    text = strchr(text, '\n');
    text = text ? text + 1 : NULL;
  }
  return 0;
}

bool
csn_cgroup_has(const char *list, const char *word)
{
  size_t n = strlen(word);
  for (const char *p = list; (p = strstr(p, word)); p++)
    if ((p == list || p[-1] == ' ' || p[-1] == '\n' || p[-1] == ',') &&
        (p[n] == '\0' || p[n] == ' ' || p[n] == '\n' || p[n] == ','))
      return true;
  return false;
}

/* ---- where our own group is ---- */

/* One field of a line, up to `end` or the line's end; *p moves behind it. */
static size_t
take_field(const char **p, char end, const char **field)
{
  *field = *p;
  while (**p && **p != '\n' && **p != end)
    ++*p;
  size_t n = (size_t)(*p - *field);
  *p += **p == end;
  return n;
}

static const char *
next_line(const char *p)
{
  p = strchr(p, '\n');
  return p ? p + 1 : "";
}

static bool
is_listed(const char *list, size_t n, const char *word)
{
  char text[256];
  if (n >= sizeof text)
    return false;
  memcpy(text, list, n);
  text[n] = '\0';
  return csn_cgroup_has(text, word);
}

/* Our path in a hierarchy, as the kernel tells it. */
static bool
own_group(const char *text, const char *controller, const char **path, size_t *n)
{
  for (const char *p = text; *p; p = next_line(p)) {
    const char *id, *list;
    size_t id_n = take_field(&p, ':', &id), list_n = take_field(&p, ':', &list);
    bool unified = id_n == 1 && *id == '0' && list_n == 0;
    if (controller ? is_listed(list, list_n, controller) : unified) {
      *n = take_field(&p, '\n', path);
      return *n > 0;
    }
  }
  return false;
}

/* Adds a path of mountinfo, in which some characters are octal numbers. */
static size_t
add_mount_path(char *to, const char *from, size_t n)
{
  size_t at = 0;
  for (size_t i = 0; i < n && at + 1 < CSN_CGROUP_PATH; i++) {
    if (from[i] == '\\' && i + 3 < n) {
      to[at++] = (char)((from[i + 1] - '0') * 64 + (from[i + 2] - '0') * 8 + (from[i + 3] - '0'));
      i += 3;
    } else {
      to[at++] = from[i];
    }
  }
  to[at] = '\0';
  return at;
}

/* A mount of the hierarchy: the group that it shows and where it is. */
static bool
find_mount(const char *text, const char *controller, const char **shown, size_t *shown_n,
           char path[CSN_CGROUP_PATH], size_t *path_n)
{
  for (const char *p = text; *p; p = next_line(p)) {
    const char *field, *point, *type, *options;
    for (int i = 0; i < 3; i++)
      take_field(&p, ' ', &field);
    *shown_n = take_field(&p, ' ', shown);
    size_t point_n = take_field(&p, ' ', &point);
    while (take_field(&p, ' ', &field) && !(field[0] == '-' && field[1] == ' '))
      continue;
    size_t type_n = take_field(&p, ' ', &type);
    take_field(&p, ' ', &field);
    size_t options_n = take_field(&p, '\n', &options);
    bool right = controller ? type_n == 6 && memcmp(type, "cgroup", 6) == 0 &&
                                  is_listed(options, options_n, controller)
                            : type_n == 7 && memcmp(type, "cgroup2", 7) == 0;
    if (p > text && p[-1] == '\n')
      p--; /* the loop's step goes to the next line */
    if (right && point_n < CSN_CGROUP_PATH) {
      *path_n = add_mount_path(path, point, point_n);
      return true;
    }
  }
  return false;
}

bool
csn_cgroup_path(const struct csn_cgroup_view *view, const char *controller,
                char path[CSN_CGROUP_PATH], size_t *root)
{
  const char *own, *shown;
  size_t own_n, shown_n;
  if (!own_group(view->cgroup, controller, &own, &own_n) ||
      !find_mount(view->mounts, controller, &shown, &shown_n, path, root))
    return false;
  if (shown_n == 1)
    shown_n = 0; /* "/" */
  if (own_n < shown_n || memcmp(own, shown, shown_n) != 0 ||
      (own_n > shown_n && own[shown_n] != '/'))
    return false; /* the mount shows another part of the tree */
  own += shown_n;
  own_n -= shown_n;
  if (own_n == 1)
    own_n = 0;
  if (*root + own_n >= CSN_CGROUP_PATH || (own_n >= 3 && memcmp(own, "/..", 3) == 0))
    return false;
  memcpy(path + *root, own, own_n);
  path[*root + own_n] = '\0';
  return true;
}

/* ---- version 1 ---- */

static int
open_folder(int dir, const char *path)
{
  return openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void
use_old(struct csn_cgroups *g, const struct csn_cgroup_view *view, int kind)
{
  char path[CSN_CGROUP_PATH];
  size_t root;
  struct csn_cgroup_place *p = &g->places[kind];
  if (!csn_cgroup_path(view, g->names[kind], path, &root))
    return;
  p->parent = open_folder(AT_FDCWD, path);
  if (p->parent >= 0 && (g->make(p->parent, g->name, 0755) == 0 || errno == EEXIST))
    p->folder = open_folder(p->parent, g->name);
  if (p->folder < 0) {
    if (p->parent >= 0)
      close(p->parent);
    p->parent = -1;
    return;
  }
  p->version = 1;
  p->is_private = true;
}

/* ---- version 2 ---- */

/* The controllers that are still looked for and that the text names. */
static unsigned
named(const struct csn_cgroups *g, const char *text)
{
  unsigned found = 0;
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    if (!g->places[i].version && csn_cgroup_has(text, g->names[i]))
      found |= 1u << i;
  return found;
}

/* Hands what this folder has on to those below; what then is handed on. */
static unsigned
hand_on(const struct csn_cgroups *g, int folder)
{
  char text[512];
  if (!csn_cgroup_read(folder, "cgroup.controllers", text, sizeof text))
    return 0;
  unsigned here = named(g, text);
  unsigned given = csn_cgroup_read(folder, "cgroup.subtree_control", text, sizeof text)
                       ? named(g, text) & here
                       : 0;
  for (int i = 0; i < CSN_CGROUP_KINDS; i++) {
    char word[16];
    if (!(here & ~given & 1u << i))
      continue;
    text_add(word, sizeof word, text_add(word, sizeof word, 0, "+"), g->names[i]);
    if (csn_cgroup_write(folder, "cgroup.subtree_control", word))
      given |= 1u << i;
  }
  return given;
}

/* Whether nobody but this process and its parent is in the group. */
static bool
is_ours_alone(int folder)
{
  char text[256];
  if (!csn_cgroup_read(folder, "cgroup.procs", text, sizeof text) || strlen(text) + 2 > sizeof text)
    return false;
  for (const char *p = text; *p;) {
    uint64_t pid = text_take(&p);
    if (pid != (uint64_t)getpid() && pid != (uint64_t)getppid())
      return false;
    p += *p == '\n';
  }
  return true;
}

static bool
was_delegated(int folder)
{
  char value[8];
  return geteuid() != 0 || fgetxattr(folder, "trusted.delegate", value, sizeof value) > 0 ||
         fgetxattr(folder, "user.delegate", value, sizeof value) > 0;
}

/* Gets the harness and us out of the way; false when that is not ours to do. */
static bool
move_to_leaf(const struct csn_cgroups *g, int folder, bool is_last)
{
  char pid[24];
  if (!(is_last || was_delegated(folder)) || !is_ours_alone(folder))
    return false;
  if (g->make(folder, LEAF, 0755) < 0 && errno != EEXIST)
    return false;
  text_number(pid, sizeof pid, 0, (uint64_t)getppid());
  return csn_cgroup_write(folder, LEAF "/cgroup.procs", pid) &&
         csn_cgroup_write(folder, LEAF "/cgroup.procs", "0");
}

bool
csn_cgroup_try(int folder)
{
  struct clone_request q = {
      .flags = CLONE_VFORK | INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)folder};
  pid_t pid = (pid_t)syscall(NR_clone3, &q, sizeof q);
  if (pid == 0)
    _exit(0);
  while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
    continue;
  return pid > 0;
}

/* Tries the folder at `path`; true when jails can have groups below it. */
static bool
use_here(struct csn_cgroups *g, const char *path, bool is_own, bool is_last)
{
  const unsigned walls = 1u << CSN_CGROUP_MEMORY | 1u << CSN_CGROUP_PIDS;
  int parent = open_folder(AT_FDCWD, path), folder = -1;
  if (parent < 0)
    return false;
  unsigned given = 0;
  if (g->make(parent, g->name, 0755) == 0 || errno == EEXIST) {
    given = hand_on(g, parent);
    if (!(given & walls) && is_own && move_to_leaf(g, parent, is_last))
      given = hand_on(g, parent);
    if (given & walls && (folder = open_folder(parent, g->name)) >= 0)
      given = g->try(folder) ? hand_on(g, folder) : 0;
    if (!(given & walls) || folder < 0)
      unlinkat(parent, g->name, AT_REMOVEDIR);
  }
  if (!(given & walls) || folder < 0) {
    if (folder >= 0)
      close(folder);
    close(parent);
    return false;
  }
  bool first = true;
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    if (given & 1u << i) {
      g->places[i] = (struct csn_cgroup_place){2, folder, parent, first};
      first = false;
    }
  return true;
}

/* The mount point itself. */
static int
open_root(const char *path, size_t n)
{
  char root[CSN_CGROUP_PATH];
  memcpy(root, path, n);
  root[n] = '\0';
  return open_folder(AT_FDCWD, root);
}

static void
use_unified(struct csn_cgroups *g, const struct csn_cgroup_view *view)
{
  char path[CSN_CGROUP_PATH], all[512];
  size_t root;
  if (!csn_cgroup_path(view, NULL, path, &root))
    return;
  int top = open_root(path, root);
  bool has_some = csn_cgroup_read(top, "cgroup.controllers", all, sizeof all) && named(g, all);
  if (top >= 0)
    close(top);
  if (!has_some)
    return;
  char *end = strrchr(path + root, '/');
  if (end && strcmp(end + 1, LEAF) == 0)
    *end = '\0'; /* an earlier spawner of this harness has moved us here */
  for (bool own = true;; own = false) {
    bool last = strlen(path) <= root;
    if (use_here(g, path, own, last) || last)
      return;
    *strrchr(path + root, '/') = '\0';
  }
}

/* ---- all of it ---- */

/* The least of what the machine has and what the groups above ours allow. */
static uint64_t
find_memory(const struct csn_cgroups *g)
{
  struct sysinfo si;
  uint64_t least = sysinfo(&si) < 0 ? 0 : (uint64_t)si.totalram * si.mem_unit;
  const struct csn_cgroup_place *p = &g->places[CSN_CGROUP_MEMORY];
  const char *file = p->version == 1 ? "memory.limit_in_bytes" : "memory.max";
  char path[80], text[64];
  text_add(path, sizeof path, 0, file);
  for (size_t up = 0; p->version && up < 16; up++) {
    const char *at = text;
    if (!csn_cgroup_read(p->folder, path, text, sizeof text))
      break; /* above the root */
    uint64_t limit = text_take(&at);
    least = limit && limit < least ? limit : least;
    size_t n = 0;
    for (size_t i = 0; i <= up; i++)
      n = text_add(path, sizeof path, n, "../");
    text_add(path, sizeof path, n, file);
  }
  return least;
}

void
csn_cgroups_find(struct csn_cgroups *g, const struct csn_cgroup_view *view)
{
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    g->places[i] = (struct csn_cgroup_place){.folder = -1, .parent = -1};
  g->seat.number = -1;
  csn_cgroups_own_name(g->name);
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    use_old(g, view, i);
  use_unified(g, view);
  g->available = find_memory(g);
}

void
csn_cgroups_open(struct csn_cgroups *g)
{
  char *texts = malloc(2 * (size_t)VIEW_MAX);
  *g = (struct csn_cgroups){
      .make = mkdirat, .try = csn_cgroup_try, .names = {"memory", "pids", "cpu"}};
  struct csn_cgroup_view view = {"", ""};
  if (texts && csn_cgroup_read(AT_FDCWD, "/proc/self/cgroup", texts, VIEW_MAX) &&
      csn_cgroup_read(AT_FDCWD, "/proc/self/mountinfo", texts + VIEW_MAX, VIEW_MAX))
    view = (struct csn_cgroup_view){texts, texts + VIEW_MAX};
  csn_cgroups_find(g, &view);
  free(texts);
}
