/* SPDX-License-Identifier: Apache-2.0
 *
 * state.c - which folder holds the runs: --state, else CAISSON_STATE, else
 * the nearest .caisson/ from the current folder upward, else a new one here.
 *
 * A folder that was found and not named must be ours: what stands in it is
 * trusted, and anybody can make a /tmp/.caisson.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cli.h"
#include "core/fd.h"

static const char folder_name[] = ".caisson";

/* The path of the folder found upward from here, or NULL. */
static char *
found_upward(void)
{
  csn_auto(csn_freep) char *here = getcwd(NULL, 0);
  if (!here)
    return NULL;
  for (char *end = here + strlen(here);; end = strrchr(here, '/')) {
    *end = '\0';
    csn_buf path = CSN_BUF(64 << 10);
    struct stat st;
    csn_buf_addf(&path, "%s/%s", here, folder_name);
    if (stat(path.p, &st) == 0 && S_ISDIR(st.st_mode))
      return path.p;
    csn_buf_fini(&path);
    if (!strchr(here, '/'))
      return NULL;
  }
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
cli_state_open(cli *c, bool make, int *dir, csn_buf *path, csn_err *err)
{
  csn_auto(csn_freep) char *found = c->state_dir ? NULL : found_upward();
  const char *name = c->state_dir ? c->state_dir : found ? found : folder_name;
  if (make && mkdir(name, 0700) < 0 && errno != EEXIST)
    return csn_fail_errno(err, "cannot make the state folder %s", name);
  csn_auto(csn_closep) int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT && !c->state_dir)
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no %s folder here or above; --state names one",
                    folder_name);
  if (fd < 0)
    return csn_fail_errno(err, "cannot open the state folder %s", name);
  int rc = found ? check_owner(fd, name, err) : 0;
  if (rc < 0)
    return rc;
  if (path)
    csn_buf_addz(path, name);
  *dir = fd;
  fd = -1;
  return 0;
}
