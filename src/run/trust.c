/* SPDX-License-Identifier: Apache-2.0
 * trust.c - see trust.h. */
#include "run/trust.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/fd.h"
#include "core/hash.h"

enum { LIST_MAX = 4 << 20, HOST_MAX = 63 };

static csn_str
authority(csn_str url)
{
  size_t begin = csn_str_find(url, CSN_STR("://"), 0);
  if (begin == SIZE_MAX)
    return CSN_STR("");
  csn_str rest = csn_strn(url.p + begin + 3, url.n - begin - 3);
  size_t n = 0;
  while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#')
    n++;
  return csn_strn(rest.p, n);
}

csn_str
csn_url_host(csn_str url)
{
  csn_str all = authority(url);
  size_t n = all.n;
  while (n && all.p[n - 1] != '@')
    n--;
  return csn_strn(all.p + n, all.n - n);
}

bool
csn_url_is_local(csn_str url)
{
  csn_str all = authority(url), host = csn_url_host(url);
  size_t ats = 0, n;
  for (size_t i = 0; i < all.n; i++) {
    ats += all.p[i] == '@';
    if (all.p[i] == '\\' || all.p[i] == '%' || ats > 1)
      return false; /* programs differ in how they read these */
  }
  if (csn_str_starts(host, CSN_STR("[::1]")))
    return host.n == 5 || host.p[5] == ':';
  for (n = 0; n < host.n && host.p[n] != ':';)
    n++;
  host.n = n;
  char name[HOST_MAX + 1];
  struct in_addr at;
  if (host.n > HOST_MAX)
    return false;
  memcpy(name, host.p, host.n);
  name[host.n] = '\0';
  return strcmp(name, "localhost") == 0 ||
         (inet_pton(AF_INET, name, &at) == 1 && ntohl(at.s_addr) >> 24 == 127);
}

static const char *
home(void)
{
  const char *h = getenv("HOME");
  return h && *h == '/' ? h : NULL;
}

/* The user's configuration folder; made when `make` says so. */
static int
open_config(bool make, csn_err *err)
{
  const char *xdg = getenv("XDG_CONFIG_HOME"), *h = home();
  if (!(xdg && *xdg == '/') && !h)
    return csn_fail(err, CSN_E_NOT_FOUND, "neither HOME nor XDG_CONFIG_HOME names a folder");
  const char *top = xdg && *xdg == '/' ? xdg : h;
  csn_auto(csn_closep) int at = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (at < 0)
    return csn_fail_errno(err, "the folder %s", top);
  const char *below = top == xdg ? "caisson" : ".config/caisson";
  int rc = make ? csn_mkdirs(at, below, 0700, err) : 0;
  return rc < 0 ? rc : csn_open_beneath(at, below, O_RDONLY | O_DIRECTORY, 0, err);
}

static csn_str
line_of(csn_buf *b, const char *file, csn_str content)
{
  csn_digest d = csn_sha256_of(content);
  char hex[65];
  csn_digest_hex(&d, hex);
  csn_buf_addf(b, "%s %s", hex, file);
  return csn_buf_str(b);
}

/* The list, if it is ours to believe. */
static bool
read_list(csn_buf *out)
{
  csn_err err;
  csn_auto(csn_closep) int dir = open_config(false, &err);
  csn_auto(csn_closep) int fd = dir < 0 ? -1 : csn_open_beneath(dir, "trusted", O_RDONLY, 0, &err);
  struct stat st;
  return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
         !(st.st_mode & 022) && csn_fd_read_all(fd, out, &err) == 0;
}

static bool
is_listed(csn_str list, csn_str wanted)
{
  csn_str line;
  while (csn_str_line(&list, &line))
    if (csn_str_eq(line, wanted))
      return true;
  return false;
}

static bool
lies_in_home(const char *file)
{
  char folder[PATH_MAX], real[PATH_MAX];
  const char *slash = strrchr(file, '/'), *h = home();
  size_t n = slash ? (size_t)(slash - file) : 0;
  if (!h || !n || n >= sizeof folder || !realpath(h, real))
    return false;
  memcpy(folder, file, n);
  folder[n] = '\0';
  return strcmp(folder, real) == 0;
}

bool
csn_trust_is_listed(const char *file, csn_str content)
{
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(LIST_MAX), line = CSN_BUF(2 * PATH_MAX);
  return read_list(&list) && is_listed(csn_buf_str(&list), line_of(&line, file, content));
}

bool
csn_trust_has(const char *file, const struct stat *st, csn_str content)
{
  const char *said = getenv("CAISSON_TRUST_PROJECT");
  if ((said && strcmp(said, "1") == 0) || (st->st_uid == 0 && geteuid() != 0) || lies_in_home(file))
    return true;
  return csn_trust_is_listed(file, content);
}

int
csn_trust_add(const char *file, csn_str content, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(LIST_MAX), line = CSN_BUF(2 * PATH_MAX);
  csn_str wanted = line_of(&line, file, content);
  if (strchr(file, '\n'))
    return csn_fail(err, CSN_E_INVALID, "the path of the file holds a line break");
  if (!read_list(&list))
    csn_buf_clear(&list);
  if (is_listed(csn_buf_str(&list), wanted))
    return 0;
  csn_buf_add(&list, wanted);
  csn_buf_addc(&list, '\n');
  int rc = csn_buf_done(&list, "the list of trusted files", err);
  csn_auto(csn_closep) int dir = rc < 0 ? -1 : open_config(true, err);
  if (rc < 0 || dir < 0)
    return rc < 0 ? rc : dir;
  return csn_file_write(dir, "trusted", csn_buf_str(&list), 0600, false, err);
}
