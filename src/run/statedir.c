/* SPDX-License-Identifier: Apache-2.0
 * statedir.c - see statedir.h. */
#include "run/statedir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "store/keyring.h"

static const char folder_name[] = ".caisson";

char *
csn_find_upward(const char *name)
{
  csn_auto(csn_freep) char *cwd = getcwd(NULL, 0);
  csn_str at = csn_cstr(cwd);
  while (at.n) {
    csn_buf path = CSN_BUF(PATH_MAX);
    csn_buf_addf(&path, "%.*s/%s", at.n == 1 ? 0 : (int)at.n, at.p, name);
    struct stat st;
    if (!path.over && stat(path.p, &st) == 0)
      return path.p;
    csn_buf_fini(&path);
    if (at.n == 1)
      break;
    while (at.n > 1 && at.p[at.n - 1] != '/')
      at.n--;
    if (at.n > 1)
      at.n--;
  }
  return NULL;
}

static int
check_owner(int dir, const char *path, csn_err *err)
{
  struct stat st;
  if (fstat(dir, &st) < 0)
    return csn_fail_errno(err, "cannot look at the state folder %s", path);
  if (st.st_uid == geteuid())
    return 0;
  return csn_fail(err, CSN_E_DENIED,
                  "the state folder %s belongs to user %u; name it with --state to use it, or "
                  "another one",
                  path, (unsigned)st.st_uid);
}

int
csn_state_store_open(const struct csn_project *p, const char *dir, const char *url, int fd,
                     enum csn_durability d, csn_store **out, csn_err *err)
{
  int rc = 0;
  if (!url && !dir)
    rc = csn_project_state(p, &url, err);
  if (rc < 0)
    return rc;
  return url ? csn_store_connect(out, url, err) : csn_store_open(out, fd, d, err);
}

int
csn_state_sessions_open(const struct csn_project *p, const char *place, const char *keys,
                        csn_store *store, csn_sessions **out, csn_err *err)
{
  csn_auto(csn_keyring_freep) csn_keyring *ring = NULL;
  csn_auto(csn_sessions_closep) csn_sessions *s = NULL;
  static const char what[] = "keys of sessions";
  struct csn_project_sessions said;
  int rc = csn_project_sessions(p, &said, err);
  if (rc == 0 && keys)
    rc = csn_keyring_from_file(keys, what, &ring, err);
  else if (rc == 0 && said.keys_file)
    rc = csn_keyring_from_file(said.keys_file, what, &ring, err);
  else if (rc == 0 && said.keys_command)
    rc = csn_keyring_from_command(said.keys_command, what, &ring, err);
  if (rc == 0)
    rc = csn_sessions_open(&s, store, place ? place : said.store, err);
  if (rc == 0 && ring)
    rc = csn_sessions_seal(&s, csn_steal(ring), err);
  if (rc == 0)
    *out = csn_steal(s);
  return rc;
}

void
csn_state_sessions_init(struct csn_state_sessions *s, const char *place, const char *keys)
{
  *s = (struct csn_state_sessions){.place = place ? csn_dupz(csn_cstr(place)) : NULL,
                                   .keys = keys ? csn_dupz(csn_cstr(keys)) : NULL};
  pthread_mutex_init(&s->lock, NULL);
}

void
csn_state_sessions_fini(struct csn_state_sessions *s)
{
  csn_sessions_close(s->open);
  free(s->place);
  free(s->keys);
  pthread_mutex_destroy(&s->lock);
}

int
csn_state_sessions_need(struct csn_state_sessions *s, const struct csn_project *p, csn_store *store,
                        csn_sessions **out, csn_err *err)
{
  pthread_mutex_lock(&s->lock);
  int rc = s->open ? 0 : csn_state_sessions_open(p, s->place, s->keys, store, &s->open, err);
  *out = s->open;
  pthread_mutex_unlock(&s->lock);
  return rc;
}

int
csn_statedir_open(const char *dir, bool make, char **path, int *fd, csn_err *err)
{
  csn_auto(csn_freep) char *found = dir ? NULL : csn_find_upward(folder_name);
  const char *name = dir ? dir : found ? found : folder_name;
  if (make && mkdir(name, 0700) < 0 && errno != EEXIST)
    return csn_fail_errno(err, "cannot make the state folder %s; name another with --state DIR",
                          name);
  csn_auto(csn_closep) int got = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (got < 0 && errno == ENOENT && !dir)
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no %s folder here or above; --state names one",
                    folder_name);
  if (got < 0)
    return csn_fail_errno(err, "cannot open the state folder %s", name);
  int rc = found ? check_owner(got, name, err) : 0;
  if (rc < 0)
    return rc;
  *path = csn_dupz(csn_cstr(name));
  *fd = got;
  got = -1;
  return 0;
}
