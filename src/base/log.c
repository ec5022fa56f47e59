/* SPDX-License-Identifier: Apache-2.0
 * log.c - one line an event; see log.h. */
#include "base/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "caisson/mem.h"

enum { TEXT_MAX = 1200, LINE_MAX_BYTES = 4 * TEXT_MAX + 64 }; /* every byte escaped, and the head */

struct csn_log {
  int fd;
  enum csn_level level;
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

csn_log *
csn_log_new(int fd, enum csn_level level)
{
  csn_log *l = csn_alloc(sizeof *l);
  *l = (csn_log){fd, level};
  return l;
}

void
csn_log_free(csn_log *l)
{
  free(l);
}

bool
csn_level_parse(csn_str word, enum csn_level *out)
{
  for (size_t i = 0; i < CSN_COUNT(level_names); i++)
    if (csn_str_eq(word, csn_cstr(level_names[i]))) {
      *out = (enum csn_level)i;
      return true;
    }
  return false;
}

/* What a terminal could take for a command: C0, DEL, C1 (also as two bytes)
 * and what is not UTF-8. */
static void
add_escaped(csn_buf *line, csn_str s)
{
  while (s.n) {
    unsigned char c = (unsigned char)s.p[0];
    size_t n = 1;
    if (c >= 0x80) {
      n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
      n = n <= s.n && csn_utf8_valid(csn_strn(s.p, n)) == n ? n : 1;
    }
    bool is_c1 = n == 2 && c == 0xc2 && (unsigned char)s.p[1] < 0xa0;
    if (c < 0x20 || c == 0x7f || (c >= 0x80 && n == 1) || is_c1)
      for (size_t i = 0; i < n; i++)
        csn_buf_addf(line, "\\x%02x", (unsigned char)s.p[i]);
    else
      csn_buf_add(line, csn_strn(s.p, n));
    s.p += n;
    s.n -= n;
  }
}

void
csn_logf(csn_log *l, enum csn_level level, const char *fmt, ...)
{
  if (!l || level > l->level)
    return;
  char text[TEXT_MAX];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  struct timespec now;
  struct tm tm;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &tm);
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(LINE_MAX_BYTES);
  csn_buf_addf(&line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s ", tm.tm_year + 1900, tm.tm_mon + 1,
               tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000,
               level_names[level]);
  add_escaped(&line, csn_cstr(text));
  csn_buf_addc(&line, '\n');
  ssize_t n = write(l->fd, line.p, line.n);
  (void)n; /* a log that cannot be written has nowhere to say so */
}
