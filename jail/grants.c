/* SPDX-License-Identifier: Apache-2.0
 *
 * grants.c - folders of the host that commands see; see jail/grants.h.
 *
 * They are a part of the template: what is granted is mounted into the skeleton
 * while its folders can still be made, so a jail has it by being cloned. */
#include "jail/grants.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "jail/start.h"
#include "jail/steps.h"

/* ---- the list ---- */

/* The next entry; NULL at the end. */
static const char *
next(const struct csn_granted *g, const char *entry)
{
  entry = entry ? entry + strlen(entry) + 1 : g->list;
  return entry && entry < g->list + g->size ? entry : NULL;
}

static const char *
map_list(struct csn_granted *g, int fd)
{
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < 4)
    return NULL;
  const char *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (text == MAP_FAILED)
    return NULL;
  g->list = text;
  g->size = (size_t)st.st_size;
  return text[st.st_size - 1] == '\0' ? text : NULL;
}

/* "rPATH" with an absolute path that leads nowhere else. */
static bool
is_good(const char *entry)
{
  const char *path = entry + 1;
  size_t n = strlen(entry);
  return (entry[0] == 'r' || entry[0] == 'w') && n > 2 && n < CSN_JAIL_ROOT_MAX && path[0] == '/' &&
         !strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../") &&
         entry[n - 1] != '/' && strcmp(entry + n - 2, "/.") != 0 &&
         (n < 4 || strcmp(entry + n - 3, "/..") != 0);
}

const char *
csn_granted_read(struct csn_granted *g, uint32_t n, int fd, const int *fds)
{
  uint32_t found = 0;
  *g = (struct csn_granted){.n = n, .fds = fds};
  if (n == 0)
    return NULL;
  errno = EPROTO;
  if (!map_list(g, fd))
    return "read the granted paths";
  for (const char *entry = next(g, NULL); entry; entry = next(g, entry)) {
    if (!is_good(entry))
      return "understand the granted paths";
    found++;
  }
  return found == n ? NULL : "understand the granted paths";
}

void
csn_granted_fini(struct csn_granted *g)
{
  if (g->list)
    munmap((void *)(uintptr_t)g->list, g->size);
  g->list = NULL;
}

struct origin {
  uint64_t device, number;
  uint32_t uid, gid;
};

char *
csn_granted_key(const struct csn_granted *g, size_t *n)
{
  *n = sizeof g->inside + g->n * sizeof(struct origin) + g->size;
  char *key = malloc(*n), *to = key;
  if (!key)
    return NULL;
  memcpy(to, g->inside, sizeof g->inside);
  to += sizeof g->inside;
  for (uint32_t i = 0; i < g->n; i++, to += sizeof(struct origin)) {
    struct stat st;
    struct origin o = {0};
    if (fstat(g->fds[i], &st) == 0)
      o = (struct origin){st.st_dev, st.st_ino, st.st_uid, st.st_gid};
    memcpy(to, &o, sizeof o);
  }
  memcpy(to, g->list, g->size);
  return key;
}

/* ---- in the spawner ---- */

static bool
protect(struct csn_ids *ids, const struct csn_granted *g, int fd, bool is_writable, int tree)
{
  struct stat st;
  uint64_t flags = is_writable ? CSN_SAFE : CSN_LOCKED;
  if (!ids)
    return sys_tree_protect(tree, flags, -1) == 0;
  int owner = fstat(fd, &st) < 0 ? -1 : csn_ids_owner(ids, st.st_uid, st.st_gid, g->inside, false);
  if (owner >= 0 && sys_tree_protect(tree, flags, owner) == 0)
    return true;
  return !is_writable && sys_tree_protect(tree, flags, -1) == 0;
}

const char *
csn_granted_trees(const struct csn_home *home, struct csn_ids *ids, const struct csn_granted *g,
                  int *trees)
{
  const char *entry = NULL;
  for (uint32_t i = 0; i < g->n && (entry = next(g, entry)); i++) {
    trees[i] = csn_home_tree(home, g->fds[i]);
    if (trees[i] < 0)
      return errno == ESTALE ? "find the granted folder again" : "bind a granted path";
    if (!protect(home->is_root ? ids : NULL, g, g->fds[i], entry[0] == 'w', trees[i]))
      return "map the owner of a granted path";
  }
  return NULL;
}

/* ---- in the skeleton ---- */

static bool
is_beneath(const char *path, const char *top)
{
  size_t n = strlen(top);
  return strncmp(path, top, n) == 0 && path[n] == '/';
}

/* The folder that a path is in, part by part and through no link, made where it
 * lacks; *last is the path's last part.  Within another granted path nothing is made:
 * that is the host's. */
static int
open_parent(const char *path, bool may_make, const char **last)
{
  char part[CSN_JAIL_ROOT_MAX];
  int fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (const char *p = path + 1; fd >= 0; p += strlen(part) + 1) {
    size_t n = strcspn(p, "/");
    memcpy(part, p, n);
    part[n] = '\0';
    *last = p;
    if (!p[n])
      return fd;
    if (may_make && mkdirat(fd, part, 0755) < 0 && errno != EEXIST)
      csn_jail_fail("make a folder for", path);
    int below = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close(fd);
    fd = below;
  }
  csn_jail_fail("find the folder for", path);
}

static void
make_place(int folder, const char *name, bool is_folder, const char *path)
{
  int fd = -1;
  bool done = is_folder
                  ? mkdirat(folder, name, 0755) == 0
                  : (fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) >= 0;
  if (!done && errno != EEXIST)
    csn_jail_fail("make the place of", path);
  if (fd >= 0)
    close(fd);
}

void
csn_granted_attach(const struct csn_granted *g, int *trees)
{
  const char *entry = NULL;
  for (uint32_t i = 0; i < g->n && (entry = next(g, entry)); i++) {
    const char *path = entry + 1, *name = NULL;
    struct stat st;
    bool may_make = true;
    for (const char *other = next(g, NULL); other != entry; other = next(g, other))
      may_make &= !is_beneath(path, other + 1);
    int folder = open_parent(path, may_make, &name);
    if (fstat(trees[i], &st) < 0)
      csn_jail_fail("look at", path);
    if (may_make)
      make_place(folder, name, S_ISDIR(st.st_mode), path);
    int place = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (place < 0 || sys_move_mount_onto(trees[i], place) < 0)
      csn_jail_fail("attach", path);
    close(place);
    close(folder);
    close(trees[i]);
    trees[i] = -1;
  }
}

/* ---- in the jail ---- */

void
csn_granted_writable(const struct csn_jail_plan *plan, void (*fn)(void *user, const char *path),
                     void *user)
{
  struct csn_granted g;
  const char *failed = csn_granted_read(&g, plan->open.grants, plan->fds[CSN_JAIL_GRANTS], NULL);
  if (failed)
    csn_jail_fail(failed, "");
  for (const char *entry = g.n ? next(&g, NULL) : NULL; entry; entry = next(&g, entry))
    if (entry[0] == 'w')
      fn(user, entry + 1);
  csn_granted_fini(&g);
}
