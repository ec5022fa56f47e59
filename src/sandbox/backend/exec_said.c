/* SPDX-License-Identifier: Apache-2.0
 * exec_said.c - the standard error of a program that is a back-end: lines for
 * the log, so many of so many bytes, without what was given to it in trust. */
#include <errno.h>

#include "sandbox/backend/exec_talk.h"

enum { LINE_MAX_BYTES = 1000, LINES_MAX = 500, SECRET_MIN = 8 };

void
csn_talk_said_init(struct csn_talk_said *s, const csn_talk_start *how)
{
  *s = (struct csn_talk_said){.log = how->log,
                              .name = how->name,
                              .hidden = how->hidden,
                              .line = CSN_BUF(LINE_MAX_BYTES),
                              .last = CSN_BUF(2 * LINE_MAX_BYTES)};
}

void
csn_talk_said_fini(struct csn_talk_said *s)
{
  csn_buf_fini(&s->line);
  csn_buf_fini(&s->last);
}

/* The variable whose value stands here; or NULL. */
static const char *
hidden_at(const struct csn_talk_said *s, csn_str rest)
{
  for (const char *const *h = s->hidden; h && *h; h++) {
    const char *value = strchr(*h, '=') + 1;
    if (strlen(value) >= SECRET_MIN && csn_str_starts(rest, csn_cstr(value)))
      return *h;
  }
  return NULL;
}

/* Of a line that was cut, what cannot be the beginning of a value. */
static csn_str
whole(const struct csn_talk_said *s)
{
  csn_str line = csn_buf_str(&s->line);
  size_t longest = 0;
  for (const char *const *h = s->line.over ? s->hidden : NULL; h && *h; h++) {
    size_t n = strlen(strchr(*h, '=') + 1);
    longest = n > longest ? n : longest;
  }
  return csn_strn(line.p, line.n > longest ? line.n - longest : 0);
}

static void
tell(struct csn_talk_said *s)
{
  csn_str line = whole(s);
  csn_buf_clear(&s->last);
  for (size_t i = 0; i < line.n;) {
    const char *h = hidden_at(s, csn_strn(line.p + i, line.n - i));
    if (h) {
      size_t name = (size_t)(strchr(h, '=') - h);
      csn_buf_addf(&s->last, "[%.*s]", (int)name, h);
      i += strlen(h + name + 1);
    } else {
      csn_buf_addc(&s->last, line.p[i++]);
    }
  }
  s->n_lines++;
  if (s->n_lines <= LINES_MAX)
    csn_logf(s->log, CSN_LOG_INFO, "%s: %s%s", s->name, s->last.p ? s->last.p : "",
             s->line.over ? " ..." : "");
  if (s->n_lines == LINES_MAX)
    csn_logf(s->log, CSN_LOG_INFO, "%s: what more it says is not kept", s->name);
  csn_buf_clear(&s->line);
}

bool
csn_talk_said_read(struct csn_talk_said *s, int fd)
{
  char block[4096];
  ssize_t n;
  while ((n = read(fd, block, sizeof block)) > 0)
    for (ssize_t i = 0; i < n; i++) {
      if (block[i] == '\n')
        tell(s);
      else
        csn_buf_addc(&s->line, block[i]);
    }
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return true;
  if (s->line.n)
    tell(s);
  return false;
}
