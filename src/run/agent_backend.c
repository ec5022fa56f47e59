/* SPDX-License-Identifier: Apache-2.0
 * agent_backend.c - `backend` of the section `sandbox`: one of ours, one of the
 * runtime's, or a program (docs/exec-backend.md).
 *
 * A program runs on this machine with its user's rights, outside of any sandbox,
 * so naming one is not the agent file's to do: its user allows what the file says
 * (--harness-tools), or has said of this program, as it is now, that it may. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/agent_read.h"
#include "run/trust.h"
#include "sandbox/backends.h"

enum { WORD_MAX = 4096, PROGRAM_MAX_BYTES = 256 << 20 };

/* Keeps the word; of a program's with the path from anywhere. */
static int
keep(csn_agent *a, const csn_sandbox_ops *const *own, csn_str word, const char *folder,
     csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(WORD_MAX);
  if (memchr(word.p, '\0', word.n))
    return csn_fail(err, CSN_E_INVALID, "a NUL character is not allowed");
  if (csn_exec_is_word(word))
    csn_exec_word_resolve(&text, word, folder);
  else
    csn_buf_add(&text, word);
  int rc = csn_buf_done(&text, "the word of a back-end", err);
  if (rc == 0 && (!text.n || !csn_sandbox_find_in(own, text.p)))
    rc = csn_sandbox_unknown(own, text.n ? text.p : "", err);
  if (rc == 0)
    a->sandbox.backend = csn_arena_dup(a->arena, csn_buf_str(&text)).p;
  return rc;
}

int
csn_agent_read_backend(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_err why;
  int rc = csn_agent_want(r, m, "sandbox.backend", CSN_JSON_STRING);
  if (rc == 0 && keep(r->a, r->backends, m->text, r->a->folder, &why) < 0)
    rc = csn_agent_complain(r, m, "sandbox.backend: %s", why.msg);
  return rc;
}

int
csn_agent_change_backend(csn_agent *a, const csn_sandbox_ops *const *own, const char *name,
                         csn_err *err)
{
  if (!a->has_sandbox)
    return csn_fail(err, CSN_E_INVALID, "agent %s has no sandbox", a->name);
  csn_auto(csn_freep) char *here = realpath(".", NULL);
  return keep(a, own, csn_cstr(name), here ? here : "", err);
}

void
csn_agent_write_backend(const csn_agent *a, csn_jw *w)
{
  csn_jw_key(w, "backend");
  csn_jw_strz(w, a->sandbox.backend);
}

/* ---- before it is used ---- */

static int
read_program(const char *word, csn_buf *path, csn_buf *content, csn_err *err)
{
  int rc = csn_exec_find(path, word, err);
  csn_auto(csn_closep) int fd = rc < 0 ? rc : open(path->p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (rc == 0 && fd < 0)
    rc = csn_fail_errno(err, "%s", path->p);
  return rc < 0 ? rc : csn_fd_read_all(fd, content, err);
}

int
csn_agent_check_backend(const csn_agent *a, const csn_sandbox_ops *const *own, bool is_allowed,
                        csn_err *err)
{
  const char *word = a->has_sandbox ? a->sandbox.backend : NULL;
  if (!word)
    return 0;
  if (!csn_sandbox_find_in(own, word))
    return csn_wrap(err, csn_sandbox_unknown(own, word, err), "agent %s", a->name);
  if (is_allowed || !csn_exec_is_word(csn_cstr(word)))
    return 0;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(WORD_MAX), content = CSN_BUF(PROGRAM_MAX_BYTES);
  int rc = read_program(word, &path, &content, err);
  if (rc < 0 || csn_trust_is_listed(path.p, csn_buf_str(&content)))
    return rc < 0 ? csn_wrap(err, rc, "agent %s", a->name) : 0;
  return csn_fail(err, CSN_E_DENIED,
                  "the program of back-end %s runs on this machine, outside of any sandbox, and "
                  "nobody has said that it may; if it may: caisson trust %s, or --harness-tools "
                  "for this one time",
                  word, path.p);
}
