/* SPDX-License-Identifier: Apache-2.0
 * git_run.c - see git_run.h. */
#include "sandbox/git_run.h"

#include <stdio.h>

#include "core/fd.h"
#include "core/proc.h"
#include "sandbox/passed.h"

enum { SAID_MAX = 16384, ARGS_MAX = 16 };

#define GIT                                                                                        \
  "git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c",                     \
      "credential.helper=", "-c", "submodule.recurse=false", "-c", "init.templateDir=", "-c",      \
      "protocol.ext.allow=never", "-c", "gc.auto=0", "-c", "advice.detachedHead=false", "-c",      \
      "core.logAllRefUpdates=false"

static void
make_environment(csn_git *g, bool is_local)
{
  static const char *const fixed[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                      "HOME=/nonexistent",
                                      "XDG_CONFIG_HOME=/nonexistent",
                                      "LC_ALL=C",
                                      "GIT_CONFIG_NOSYSTEM=1",
                                      "GIT_CONFIG_SYSTEM=/dev/null",
                                      "GIT_ATTR_NOSYSTEM=1",
                                      "GIT_TERMINAL_PROMPT=0",
                                      "GIT_ASKPASS=/bin/false",
                                      "GIT_NO_LAZY_FETCH=1"};
  size_t n = 0;
  for (size_t i = 0; i < CSN_COUNT(fixed); i++)
    g->env[n++] = fixed[i];
  g->env[n++] = is_local ? "GIT_ALLOW_PROTOCOL=file" : "GIT_ALLOW_PROTOCOL=https";
  g->env[n++] = g->auth_fd >= 0 ? g->auth : "GIT_CONFIG_GLOBAL=/dev/null";
  csn_passed_variables(&g->store, g->env, n);
}

/* A configuration that says the header to that host and follows it nowhere else. */
static int
write_auth(csn_git *g, csn_str origin, csn_str header, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64 << 10);
  csn_buf_addf(&b, "[http]\n\tfollowRedirects = false\n[http \"%.*s/\"]\n\textraHeader = \"",
               (int)origin.n, origin.p);
  for (size_t i = 0; i < header.n; i++) {
    unsigned char c = (unsigned char)header.p[i];
    if (c < ' ' || c == 0x7f)
      return csn_fail(err, CSN_E_INVALID, "the secret holds a control character");
    if (c == '"' || c == '\\')
      csn_buf_addc(&b, '\\');
    csn_buf_addc(&b, (char)c);
  }
  csn_buf_addz(&b, "\"\n");
  int rc = csn_buf_done(&b, "the secret", err);
  if (rc == 0)
    rc = g->auth_fd = csn_fd_memory("caisson-git", csn_buf_str(&b), err);
  explicit_bzero(b.p, b.n);
  snprintf(g->auth, sizeof g->auth, "GIT_CONFIG_GLOBAL=/proc/%d/fd/%d", (int)getpid(), g->auth_fd);
  return rc < 0 ? rc : 0;
}

int
csn_git_open(csn_git *g, csn_scope *sc, bool is_local, csn_str origin, csn_str header, csn_err *err)
{
  *g = (csn_git){.sc = sc, .store = CSN_BUF(CSN_PASSED_MAX), .auth_fd = -1};
  int rc = header.n ? write_auth(g, origin, header, err) : 0;
  make_environment(g, is_local);
  return rc;
}

void
csn_git_close(csn_git *g)
{
  csn_closep(&g->auth_fd);
  csn_buf_fini(&g->store);
}

int
csn_git_run(csn_git *g, int dir, const char *const *args, csn_buf *out, csn_err *err)
{
  static const char *const head[] = {GIT};
  const char *argv[CSN_COUNT(head) + ARGS_MAX + 1];
  size_t n = CSN_COUNT(head);
  memcpy(argv, head, sizeof head);
  for (size_t i = 0; i < ARGS_MAX && args[i]; i++)
    argv[n++] = args[i];
  argv[n] = NULL;
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(SAID_MAX);
  csn_command cmd = {.argv = argv, .environment = g->env, .cwd_fd = dir};
  int rc = csn_command_run(&cmd, g->sc, out ? out : &said, err);
  if (rc == CSN_E_NOT_FOUND)
    return csn_fail(err, CSN_E_UNSUPPORTED, "git is not installed on this machine");
  if (rc <= 0)
    return rc;
  csn_str told = csn_str_trim(csn_buf_str(out ? out : &said));
  return csn_fail(err, CSN_E_IO, "git %s failed (exit %d): %.*s", args[0], rc,
                  told.n ? (int)(told.n < 300 ? told.n : 300) : 15,
                  told.n ? told.p : "it said nothing");
}
