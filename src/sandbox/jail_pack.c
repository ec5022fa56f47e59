/* SPDX-License-Identifier: Apache-2.0
 * jail_pack.c - see jail_pack.h. */
#include "sandbox/jail_pack.h"

#include "core/fd.h"
#include "jail/proto.h"
#include "sandbox/jail_users.h"
#include "sandbox/strings.h"

int
csn_jail_no_scopes(csn_err *err)
{
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "scopes need Landlock, which this kernel has not or does not use (5.13 has it; "
                  "\"landlock\" must be among the words of lsm=)");
}

static uint32_t
pack_environment(csn_buf *to, const char *const *environment, const csn_exec *x,
                 const csn_account *who)
{
  static const char *const terminal[] = {"TERM=xterm-256color", NULL};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  size_t room = csn_strings_count(environment) + csn_strings_count(x->environment) + 5;
  csn_auto(csn_freep) const char **list = csn_alloc(room * sizeof *list);
  size_t n = csn_variables_put(list, 0, x->tty ? terminal : NULL);
  n = csn_variables_put(list, n, environment);
  if (x->user)
    n = csn_variables_put(list, n, csn_jail_users_variables(a, who));
  csn_variables_put(list, n, x->environment);
  return csn_strings_pack(to, list);
}

/* Paths of the workspace, clean: "./a//b/" is "a/b". */
static int
pack_paths(csn_buf *to, const char *const *list, uint32_t *n, csn_err *err)
{
  for (; list && *list; list++, ++*n) {
    csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(4096);
    if (**list == '/' || !csn_path_add(&clean, csn_cstr(*list)) || clean.over)
      return csn_fail(err, CSN_E_INVALID, "scope \"%.200s\": expected a path in the workspace",
                      *list);
    csn_buf_add(to, csn_buf_str(&clean));
    csn_buf_addc(to, '\0');
  }
  return 0;
}

int
csn_jail_pack(csn_buf *to, const char *root, const char *const *environment, const csn_exec *x,
              const csn_account *who, csn_err *err)
{
  csn_jail_frame frame = {.kind = CSN_JAIL_EXEC};
  csn_jail_exec head = {.rows = x->rows, .cols = x->cols, .uid = who->uid, .gid = who->gid};
  const csn_file_scope none = {0}, *files = x->files ? x->files : &none;
  memcpy(head.groups, who->groups, sizeof who->groups);
  head.n_groups = (uint32_t)who->n_groups;
  head.flags =
      (x->tty ? CSN_JAIL_TTY : 0u) | (x->with_stdin && !x->tty ? CSN_JAIL_WITH_STDIN : 0u) |
      (x->split_output ? CSN_JAIL_SPLIT : 0u) | (x->claim_fd >= 0 ? CSN_JAIL_WITH_CLAIM : 0u) |
      (files->read ? CSN_JAIL_READS_LISTED : 0u) | (files->write ? CSN_JAIL_WRITES_LISTED : 0u);
  csn_buf_add(to, csn_strn((const char *)&frame, sizeof frame));
  csn_buf_add(to, csn_strn((const char *)&head, sizeof head));
  if (x->cwd && x->cwd[0] == '/')
    csn_buf_addz(to, x->cwd);
  else
    csn_buf_addf(to, "%s/%s", root, x->cwd ? x->cwd : "");
  csn_buf_addc(to, '\0');
  head.args = csn_strings_pack(to, x->argv);
  head.variables = pack_environment(to, environment, x, who);
  int rc = pack_paths(to, files->read, &head.reads, err);
  if (rc == 0)
    rc = pack_paths(to, files->write, &head.writes, err);
  if (rc == 0 && head.args + head.variables + head.reads + head.writes + 4 > CSN_JAIL_STRINGS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the command has %u words and %u variables; at most %d go",
                    head.args, head.variables, CSN_JAIL_STRINGS_MAX - 4);
  if (rc == 0)
    rc = csn_buf_done(to, "the command with its environment", err);
  if (rc < 0)
    return rc;
  frame.length = (uint32_t)(to->n - sizeof frame);
  memcpy(to->p, &frame, sizeof frame);
  memcpy(to->p + sizeof frame, &head, sizeof head);
  return 0;
}
