/* SPDX-License-Identifier: Apache-2.0
 *
 * report.c - what the program says on stderr, and the exit status that an
 * error becomes.
 *
 * A status line is drawn without its line end, so every other line first
 * takes it away.  Text may quote a model or a sandbox: control characters are
 * shown, never sent.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "cli.h"

void
cli_put(FILE *to, csn_str text)
{
  while (text.n) {
    unsigned char ch = (unsigned char)text.p[0];
    size_t n = 1;
    if (ch >= 0x80) {
      n = ch < 0xe0 ? 2 : ch < 0xf0 ? 3 : 4;
      n = n <= text.n && csn_utf8_valid(csn_strn(text.p, n)) == n ? n : 1;
    }
    if (n == 2 && ch == 0xc2 && (unsigned char)text.p[1] < 0xa0) /* U+0080 to U+009F */
      fprintf(to, "\\x%02x", (unsigned char)text.p[1]);
    else if (n > 1 || ch == '\n' || ch == '\t' || (ch >= ' ' && ch < 0x7f))
      fwrite(text.p, 1, n, to);
    else /* also a byte that is no UTF-8: 0x9b alone begins a sequence on some terminals */
      fprintf(to, "\\x%02x", ch);
    text = csn_strn(text.p + n, text.n - n);
  }
}

void
cli_print(csn_str text)
{
  if (isatty(STDOUT_FILENO))
    cli_put(stdout, text);
  else
    fwrite(text.n ? text.p : "", 1, text.n, stdout);
}

static void
erase_status(cli *c)
{
  if (c->has_status)
    fputs("\r\033[K", stderr);
  c->has_status = false;
}

static void
say(cli *c, const char *head, const char *fmt, va_list ap)
{
  csn_buf text = CSN_BUF(64 << 10);
  csn_buf_addv(&text, fmt, ap);
  pthread_mutex_lock(&c->speaking);
  erase_status(c);
  fputs(head, stderr);
  cli_put(stderr, csn_str_trim(csn_buf_str(&text)));
  fputc('\n', stderr);
  fflush(stderr);
  pthread_mutex_unlock(&c->speaking);
  csn_buf_fini(&text);
}

void
cli_error(cli *c, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  say(c, c->color ? "\033[1;31mcaisson:\033[0m " : "caisson: ", fmt, ap);
  va_end(ap);
}

void
cli_note(cli *c, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  say(c, "", fmt, ap);
  va_end(ap);
}

/* Bytes of s that `columns` columns hold, never half a character.  Wide
 * characters count as one: a line that wraps is a blemish, no more. */
static size_t
fitting(csn_str s, unsigned columns)
{
  size_t i = 0;
  for (; i < s.n; i++)
    if (((unsigned char)s.p[i] & 0xc0) != 0x80 && columns-- == 0)
      break;
  return i;
}

void
cli_status(cli *c, const char *fmt, ...)
{
  if (!fmt) {
    pthread_mutex_lock(&c->speaking);
    erase_status(c);
    fflush(stderr);
    pthread_mutex_unlock(&c->speaking);
    return;
  }
  va_list ap;
  va_start(ap, fmt);
  if (!c->err_tty) {
    say(c, "", fmt, ap);
    va_end(ap);
    return;
  }
  csn_buf text = CSN_BUF(4096);
  csn_buf_addv(&text, fmt, ap);
  va_end(ap);
  for (size_t i = 0; i < text.n; i++) /* one line, and nothing that moves the cursor */
    if ((unsigned char)text.p[i] < ' ')
      text.p[i] = ' ';
  struct winsize w = {0};
  pthread_mutex_lock(&c->speaking);
  unsigned columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 8 ? w.ws_col : 80;
  erase_status(c);
  if (c->color)
    fputs("\033[2m", stderr);
  cli_put(stderr, csn_strn(text.p, fitting(csn_buf_str(&text), columns - 1)));
  if (c->color)
    fputs("\033[0m", stderr);
  c->has_status = true;
  fflush(stderr);
  pthread_mutex_unlock(&c->speaking);
  csn_buf_fini(&text);
}

int
cli_flush(csn_err *err)
{
  errno = 0;
  if (fflush(stdout) == 0 && !ferror(stdout))
    return 0;
  return csn_fail_errno(err, "cannot write to stdout");
}

enum cli_exit
cli_exit_of(int code)
{
  switch ((enum csn_code)code) {
  case CSN_E_INVALID:
  case CSN_E_NOT_FOUND:
  case CSN_E_UNSUPPORTED:
  case CSN_E_PARSE:
    return CLI_USAGE;
  case CSN_E_LIMIT:
    return CLI_LIMIT;
  case CSN_E_UNAVAILABLE:
  case CSN_E_MODEL:
  case CSN_E_TOO_LONG:
    return CLI_MODEL;
  case CSN_E_SANDBOX:
    return CLI_SANDBOX;
  case CSN_E_CANCELLED:
    return CLI_INTERRUPTED;
  case CSN_E_EXISTS:
  case CSN_E_TIMEOUT:
  case CSN_E_IO:
  case CSN_E_DENIED:
  case CSN_E_CONFLICT:
  case CSN_E_REPLAY:
    return CLI_FAILED;
  case CSN_OK:
    return CLI_DONE;
  }
  return CLI_FAILED;
}
