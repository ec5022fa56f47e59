/* SPDX-License-Identifier: Apache-2.0
 *
 * line.c - see line.h.  Without the module a terminal's own editing is used,
 * so a machine that lacks libedit still has a chat. */
#include "line.h"

#include <errno.h>

#include "line_module.h"

enum { LINE_MAX_BYTES = 16 << 20 };

struct cli_line {
  cli *c;
  const csn_line_module *module;
  void *editor; /* NULL: none */
  bool prompts;
  char *text; /* getline's */
  size_t room;
};

int
cli_line_open(cli *c, cli_line **out, csn_err *err)
{
  cli_line *l = csn_alloc(sizeof *l);
  const csn_module *m;
  csn_err why;
  l->c = c;
  l->prompts = isatty(STDIN_FILENO) && c->err_tty;
  *out = l;
  if (!l->prompts)
    return 0;
  int rc = csn_module_open("caisson-line.so", "csn_line", CSN_LINE_ABI, &m, &why);
  if (rc == CSN_E_INVALID) {
    cli_line_close(csn_steal(*out));
    return csn_fail(err, rc, "%s", why.msg);
  }
  if (rc == 0) {
    l->module = (const csn_line_module *)m;
    l->editor = l->module->open();
  }
  return 0;
}

void
cli_line_close(cli_line *l)
{
  if (l->editor)
    l->module->close(l->editor);
  free(l->text);
  free(l);
}

/* 1, 0 or an error; *line has its end still. */
static int
read_part(cli_line *l, const char *prompt, csn_str *line, csn_err *err)
{
  if (l->editor)
    return l->module->read(l->editor, prompt, line);
  if (l->prompts) {
    fputs(prompt, stderr);
    fflush(stderr);
  }
  errno = 0;
  ssize_t n = getline(&l->text, &l->room, stdin);
  if (n < 0)
    return ferror(stdin) ? csn_fail_errno(err, "stdin") : 0;
  *line = csn_strn(l->text, (size_t)n);
  return 1;
}

int
cli_line_read(cli_line *l, const char *prompt, csn_buf *out, csn_err *err)
{
  csn_str part;
  cli_status(l->c, NULL);
  int rc = read_part(l, prompt, &part, err);
  while (rc > 0) {
    while (part.n && (part.p[part.n - 1] == '\n' || part.p[part.n - 1] == '\r'))
      part.n--;
    bool goes_on = part.n && part.p[part.n - 1] == '\\';
    csn_buf_add(out, csn_strn(part.p, part.n - goes_on));
    if (out->n > LINE_MAX_BYTES || out->over)
      return csn_fail(err, CSN_E_LIMIT, "a line of more than %d bytes", LINE_MAX_BYTES);
    if (!goes_on)
      return 1;
    csn_buf_addc(out, '\n');
    rc = read_part(l, ". ", &part, err);
  }
  return rc < 0 ? rc : out->n > 0;
}
