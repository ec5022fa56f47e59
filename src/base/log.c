/* SPDX-License-Identifier: Apache-2.0
 * log.c - one line an event; see log.h. */
#include "base/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "caisson/mem.h"

enum { LINE_MAX_BYTES = 4000 };

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

static void
add_escaped(csn_buf *line, const char *text)
{
  for (const unsigned char *p = (const unsigned char *)text; *p; p++)
    if (*p < 0x20 || *p == 0x7f)
      csn_buf_addf(line, "\\x%02x", *p);
    else
      csn_buf_addc(line, (char)*p);
}

void
csn_logf(csn_log *l, enum csn_level level, const char *fmt, ...)
{
  if (!l || level > l->level)
    return;
  char text[1200];
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
  add_escaped(&line, text);
  line.over = false;
  csn_buf_addc(&line, '\n');
  ssize_t n = write(l->fd, line.p, line.n);
  (void)n; /* a log that cannot be written has nowhere to say so */
}
