/* SPDX-License-Identifier: Apache-2.0
 * secret.c - see secret.h. */
#include "store/secret.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "core/proc.h"

enum { COMMAND_MS = 30000 };

void
csn_secret_wipe(csn_buf *b)
{
  if (b->p)
    explicit_bzero(b->p, b->n);
  csn_buf_fini(b);
}

void
csn_secret_set(csn_buf *b, csn_str value)
{
  if (b->p)
    explicit_bzero(b->p, b->n);
  csn_buf_clear(b);
  csn_buf_add(b, value);
}

int
csn_secret_read(const char *path, const char *what, csn_buf *out, csn_err *err)
{
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "%s: %s", what, path);
  if (!S_ISREG(st.st_mode) || (st.st_mode & 077) || (st.st_uid != geteuid() && st.st_uid != 0))
    return csn_fail(err, CSN_E_DENIED,
                    "%s: others can read %s, or it is no file of yours: chmod 600 it", what, path);
  return csn_wrap(err, csn_fd_read_all(fd, out, err), "%s: %s", what, path);
}

int
csn_secret_ask(const char *const *argv, csn_scope *sc, const char *what, csn_buf *out, csn_err *err)
{
  csn_auto(csn_closep) int errors = open("/dev/null", O_WRONLY | O_CLOEXEC);
  csn_scope own;
  csn_scope_init(&own, sc, COMMAND_MS);
  csn_command c = {
      .argv = argv, .environment = (const char *const *)environ, .cwd_fd = -1, .stderr_fd = errors};
  int rc = csn_command_run(&c, &own, out, err);
  csn_scope_fini(&own);
  if (rc > 0)
    rc = csn_fail(err, CSN_E_DENIED, "it ended with exit code %d", rc);
  return csn_wrap(err, rc, "%s: %s", what, argv[0]);
}
