/* SPDX-License-Identifier: Apache-2.0
 *
 * box_lent.c - a run in a sandbox elsewhere that the program has made and lends
 * to it by its state: opened again as the run's own would be, and left as it is
 * when the run is over.
 *
 * The file `lent` stands in the run's folder for as long as state.json names that
 * sandbox and not one of the run's own, which takes its place when it is lost. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/box_remote.h"
#include "run/box_save.h"

enum { STATE_MAX = 64 << 10 };
static const char mark[] = "lent";

int
csn_box_lent_take(struct csn_box *b, csn_str state, csn_err *err)
{
  const char *backend = b->agent->has_sandbox ? b->agent->sandbox.backend : NULL;
  const csn_json *v = NULL;
  csn_str copy = csn_arena_dup(b->run->keep, state);
  int rc = state.n > STATE_MAX ? csn_fail(err, CSN_E_LIMIT, "more than %d bytes", STATE_MAX)
                               : csn_json_parse(b->run->keep, copy, &v, err);
  csn_str type = csn_json_str(v, "type", CSN_STR(""));
  if (rc == 0 && !type.n)
    rc = csn_fail(err, CSN_E_INVALID, "expected an object with a type, the back-end's name");
  if (rc == 0 && !backend)
    rc = csn_fail(err, CSN_E_INVALID, "agent %s has no sandbox", csn_agent_name(b->agent));
  if (rc == 0 && !csn_str_eq(type, csn_cstr(backend)))
    rc = csn_fail(err, CSN_E_INVALID, "it is of back-end %.*s, and agent %s works in %s",
                  (int)(type.n & 0xff), type.p, csn_agent_name(b->agent), backend);
  if (rc == 0 && !csn_box_is_remote(b))
    rc = csn_fail(err, CSN_E_UNSUPPORTED,
                  "the workspace of a sandbox of back-end %s is a folder of this machine: begin "
                  "with a snapshot of it, or in the workspace of an earlier run",
                  backend);
  if (rc == 0 && b->run->opts.after)
    rc = csn_fail(err, CSN_E_INVALID,
                  "a run that goes on in the workspace of run %s works in no other sandbox",
                  b->run->opts.after);
  if (rc == 0)
    b->lent = csn_str_trim(copy);
  return csn_wrap(err, rc, "the state of a sandbox");
}

bool
csn_box_is_lent(const struct csn_box *b)
{
  struct stat st;
  return b->folder_fd >= 0 && fstatat(b->folder_fd, mark, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The state first: what it names without the mark would be the run's to end. */
int
csn_box_lent_return(const struct csn_box *b, csn_err *err)
{
  for (const char *const *name = (const char *const[]){CSN_BOX_STATE, mark, NULL}; *name; name++)
    if (unlinkat(b->folder_fd, *name, 0) < 0 && errno != ENOENT)
      return csn_fail_errno(err, "%s", *name);
  return 0;
}

int
csn_box_lent_begin(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  int folder = b->folder_fd;
  if (csn_box_remote_is_there(b) && !csn_box_is_lent(b)) /* an earlier life did without it */
    return csn_box_begin(b, sc, NULL, err);
  int rc = csn_file_write(folder, mark, CSN_STR(""), 0600, true, err);
  if (rc == 0)
    rc = csn_file_write(folder, CSN_BOX_STATE, b->lent, 0600, true, err);
  if (rc == 0)
    rc = csn_box_open_machine(b, sc, err);
  if (rc == CSN_E_NOT_FOUND && b->from) {
    rc = csn_box_lent_return(b, err);
    return rc < 0 ? rc : csn_box_begin(b, sc, NULL, err);
  }
  if (rc == CSN_E_NOT_FOUND)
    return csn_wrap(err, rc,
                    "the sandbox that the run was given is gone, and there is no snapshot to begin "
                    "with");
  return rc < 0 ? rc : csn_box_fill_remote(b, sc, err);
}
