/* SPDX-License-Identifier: Apache-2.0
 * editing.c - see editing.h. */
#include "editing.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "core/fd.h"

enum { INPUT_MAX_BYTES = 32 << 20 };

static int
run_editor(const char *path, csn_err *err)
{
  const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR");
  const char *program = visual && *visual ? visual : editor && *editor ? editor : "vi";
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(4096);
  csn_buf_addf(&line, "%s \"$1\"", program);
  char *argv[] = {"sh", "-c", line.p, "sh", (char *)(uintptr_t)path, NULL};
  pid_t pid;
  int status = 0;
  errno = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
  if (errno)
    return csn_fail_errno(err, "cannot start %s", program);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    ;
  if (status != 0)
    return csn_fail(err, CSN_E_CANCELLED, "%s failed; nothing was decided", program);
  return 0;
}

int
cli_edit(cli *c, csn_str input, csn_str *edited, csn_err *err)
{
  char path[] = "/tmp/caisson-edit-XXXXXX";
  csn_auto(csn_closep) int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "cannot make a file in /tmp");
  int rc = csn_fd_write_all(fd, input, err);
  if (rc == 0)
    rc = csn_fd_write_all(fd, CSN_STR("\n"), err);
  if (rc == 0)
    rc = run_editor(path, err);
  csn_auto(csn_closep) int again = rc == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(INPUT_MAX_BYTES);
  if (rc == 0 && again < 0)
    rc = csn_fail_errno(err, "cannot read %s", path);
  if (rc == 0)
    rc = csn_fd_read_all(again, &text, err);
  unlink(path);
  csn_str s = csn_buf_str(&text);
  if (s.n && s.p[s.n - 1] == '\n')
    s.n--;
  if (rc == 0 && !s.n)
    rc = csn_fail(err, CSN_E_CANCELLED, "the input is empty; nothing was decided");
  *edited = csn_arena_dup(c->arena, s);
  return rc;
}
