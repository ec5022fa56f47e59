/* SPDX-License-Identifier: Apache-2.0
 *
 * words.c - taking messages of the harness apart; see words.h.  The harness is
 * trusted, but what it sends carries names and texts that a model made up, and
 * the spawner is root where the harness is. */
#include "jail/words.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* Relative, without empty parts, "." and ".."; "" is the workspace itself. */
static bool
is_scope(const char *path)
{
  for (const char *p = path; *p;) {
    size_t n = strcspn(p, "/");
    if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
      return false;
    p += n;
    if (*p && !*++p)
      return false;
  }
  return true;
}

bool
csn_words_split(char *body, size_t n, char **list, struct csn_words *to)
{
  csn_jail_exec *x = &to->head;
  if (n <= sizeof *x || body[n - 1] != '\0')
    return false;
  memcpy(x, body, sizeof *x);
  const bool is_listed[] = {true, true, x->flags & CSN_JAIL_READS_LISTED,
                            x->flags & CSN_JAIL_WRITES_LISTED};
  const uint32_t counts[] = {x->args, x->variables, x->reads, x->writes};
  char **lists[4] = {NULL};
  uint64_t all = 0;
  for (size_t i = 0; i < 4; i++) { /* with a NULL after each list */
    all += is_listed[i] ? counts[i] + 1ull : 0;
    if (!is_listed[i] && counts[i])
      return false;
  }
  if (x->args == 0 || all > CSN_JAIL_STRINGS_MAX)
    return false;
  const char *end = body + n;
  char *p = body + sizeof *x;
  to->cwd = p;
  p += strlen(p) + 1;
  for (size_t i = 0; i < 4; i++) {
    if (!is_listed[i])
      continue;
    lists[i] = list;
    for (uint32_t k = 0; k < counts[i]; k++) {
      if (p >= end || (i >= 2 && !is_scope(p)))
        return false;
      *list++ = p;
      p += strlen(p) + 1;
    }
    *list++ = NULL;
  }
  to->argv = lists[0];
  to->envp = lists[1];
  to->scope = (struct csn_scope_words){.reads = lists[2], .writes = lists[3]};
  return p == end;
}

size_t
csn_words_fds(uint32_t flags)
{
  return 1 + !(flags & CSN_JAIL_TTY) + !!(flags & CSN_JAIL_WITH_STDIN) +
         !!(flags & CSN_JAIL_SPLIT) + !!(flags & CSN_JAIL_WITH_CLAIM);
}

/* An absolute path without empty parts, "." and "..". */
static bool
is_plain_path(const char *path, size_t room)
{
  const char *end = memchr(path, '\0', room);
  if (!end || path[0] != '/' || end - path < 2)
    return false;
  while (path < end) {
    size_t n = strcspn(++path, "/");
    if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
      return false;
    path += n;
  }
  return true;
}

bool
csn_open_check(const csn_jail_open *open, size_t n, size_t fds)
{
  size_t named = 0;
  if (n != sizeof *open || (open->what != CSN_JAIL_MAKE && open->under))
    return false;
  if (open->what == CSN_JAIL_ABOUT)
    return open->with == 0 && open->layers == 0 && fds == 0;
  if (open->what == CSN_JAIL_TAKE_OVER)
    return open->with == CSN_JAIL_WITH(CSN_JAIL_WORKSPACE) && open->layers == 0 && fds == 1;
  /* Without a control stream it is about the pool, and has nothing to hold. */
  if (open->what != CSN_JAIL_MAKE || (!(open->with & CSN_JAIL_WITH(CSN_JAIL_CONTROL)) &&
                                      open->with & CSN_JAIL_WITH(CSN_JAIL_LOCK)))
    return false;
  for (int i = 0; i < 32; i++) {
    bool is_there = open->with & CSN_JAIL_WITH(i);
    if (is_there && (i < CSN_JAIL_CONTROL || i >= CSN_JAIL_GIVEN))
      return false;
    named += is_there;
  }
  if (open->under && !(open->with & CSN_JAIL_WITH(CSN_JAIL_WORKSPACE)))
    return false;
  if (open->is_build && (!open->under || !open->layers || open->pool || open->devices))
    return false;
  bool has_names = open->with & CSN_JAIL_WITH(CSN_JAIL_NAMES);
  if (open->devices > CSN_JAIL_EXTRAS_MAX || open->libraries > CSN_JAIL_EXTRAS_MAX ||
      open->devices + open->libraries > CSN_JAIL_EXTRAS_MAX ||
      has_names != (open->devices + open->libraries > 0))
    return false;
  bool has_grants = open->with & CSN_JAIL_WITH(CSN_JAIL_GRANTS);
  if (open->grants > CSN_JAIL_GRANTS_MAX || has_grants != (open->grants > 0) ||
      (has_grants && (open->is_build || !(open->with & CSN_JAIL_WITH(CSN_JAIL_CONTROL)))) ||
      open->devices + open->libraries + open->grants > CSN_JAIL_EXTRAS_MAX)
    return false;
  bool has_storage = open->with & CSN_JAIL_WITH(CSN_JAIL_STORAGE);
  if (open->mounts > CSN_JAIL_MOUNTS_MAX || has_storage != (open->mounts > 0) ||
      (has_storage && (open->is_build || !(open->with & CSN_JAIL_WITH(CSN_JAIL_WORKSPACE)))))
    return false;
  return open->layers <= CSN_JAIL_LAYERS_MAX && open->under <= CSN_JAIL_UNDER_MAX &&
         named + open->layers + open->under + open->devices + open->libraries + open->grants ==
             fds &&
         is_plain_path(open->root, sizeof open->root);
}

size_t
csn_fds_take(struct msghdr *m, int *fds, size_t most)
{
  size_t count = 0;
  bool is_cut = m->msg_flags & (MSG_CTRUNC | MSG_TRUNC);
  for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
      continue;
    /* The room's alignment may have let one more in than it is for. */
    for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
      if (count < most) {
        fds[count++] = fd;
      } else {
        close(fd);
        is_cut = true;
      }
    }
  }
  for (size_t i = 0; is_cut && i < count; i++)
    close(fds[i]);
  return is_cut ? SIZE_MAX : count;
}
