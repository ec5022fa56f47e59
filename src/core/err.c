/* SPDX-License-Identifier: Apache-2.0
 * err.c - filling and wrapping errors; see caisson/err.h. */
#include "caisson/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
one_line(char *s)
{
  for (; *s; s++)
    if (*s == '\n' || *s == '\r')
      *s = ' ';
}

static void
fill(csn_err *err, enum csn_code code, int sys_errno, const char *fmt, va_list ap)
{
  *err = (csn_err){.code = code, .sys_errno = sys_errno, .retry_after_ms = -1};
  vsnprintf(err->msg, sizeof err->msg, fmt, ap);
  if (sys_errno) {
    char text[96];
    size_t n = strlen(err->msg);
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", strerror_r(sys_errno, text, sizeof text));
  }
  if (!err->msg[0])
    snprintf(err->msg, sizeof err->msg, "%s", csn_code_name(code));
  one_line(err->msg);
}

int
csn_fail(csn_err *err, enum csn_code code, const char *fmt, ...)
{
  if (err) {
    va_list ap;
    va_start(ap, fmt);
    fill(err, code, 0, fmt, ap);
    va_end(ap);
  }
  return code;
}

static enum csn_code
code_of_errno(int e)
{
  switch (e) {
  case ENOENT:
  case ENOTDIR:
    return CSN_E_NOT_FOUND;
  case EEXIST:
    return CSN_E_EXISTS;
  case EACCES:
  case EPERM:
    return CSN_E_DENIED;
  default:
    return CSN_E_IO;
  }
}

int
csn_fail_errno(csn_err *err, const char *fmt, ...)
{
  int e = errno;
  enum csn_code code = code_of_errno(e);
  if (err) {
    va_list ap;
    va_start(ap, fmt);
    fill(err, code, e, fmt, ap);
    va_end(ap);
  }
  return code;
}

int
csn_wrap(csn_err *err, int rc, const char *fmt, ...)
{
  if (!err || rc >= 0)
    return rc;
  char head[200], tail[sizeof err->msg];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(head, sizeof head, fmt, ap);
  va_end(ap);
  memcpy(tail, err->msg, sizeof tail);
  int room = (int)(sizeof err->msg - strlen(head) - 3); /* ": " and NUL */
  snprintf(err->msg, sizeof err->msg, "%s: %.*s", head, room, tail);
  one_line(err->msg);
  return rc;
}

const char *
csn_code_name(enum csn_code code)
{
  static const char *const names[] = {
      "ok",       "invalid",   "not_found", "exists",      "unsupported", "limit",
      "timeout",  "cancelled", "parse",     "unavailable", "io",          "denied",
      "conflict", "replay",    "model",     "sandbox",     "too_long",
  };
  int i = -(int)code;
  return i >= 0 && i < (int)(sizeof names / sizeof *names) ? names[i] : "unknown";
}
