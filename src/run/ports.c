/* SPDX-License-Identifier: Apache-2.0
 *
 * ports.c - which exposed ports are where; see run/ports.h.
 *
 * The lock belongs to the open file and goes with the last descriptor of it,
 * so that what a killed process told counts no longer from that moment on.  A
 * file is locked before it gets its name, and no name is used twice: one that
 * is not locked was left behind and never becomes true again. */
#include "run/ports.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "caisson/json.h"
#include "core/fd.h"
#include "core/hash.h"

enum { FILE_MAX_BYTES = 16 << 10, NAME_LETTERS = 16 };

static const char loopback[] = "127.0.0.1:";

static void
write_ports(csn_buf *out, const char *id, const csn_port *ports, size_t n)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "id");
  csn_jw_strz(&w, id);
  csn_jw_key(&w, "pid");
  csn_jw_int(&w, getpid());
  csn_jw_key(&w, "ports");
  csn_jw_arr(&w);
  for (size_t i = 0; i < n; i++) {
    char address[32];
    snprintf(address, sizeof address, "%s%u", loopback, ports[i].here);
    csn_jw_obj(&w);
    csn_jw_key(&w, "port");
    csn_jw_int(&w, ports[i].port);
    csn_jw_key(&w, "address");
    csn_jw_strz(&w, address);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  csn_jw_end(&w);
}

int
csn_ports_tell(csn_ports_told *t, int state_fd, const char *id, const csn_port *ports, size_t n,
               csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(FILE_MAX_BYTES);
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  char draft[NAME_LETTERS + 2] = ".";
  *t = (csn_ports_told){.folder = -1, .fd = -1};
  write_ports(&text, id, ports, n);
  int rc = csn_buf_done(&text, "the ports", err);
  if (rc == 0)
    rc = csn_mkdirs(state_fd, "ports", 0700, err);
  if (rc < 0)
    return rc;
  csn_random_name(t->name, NAME_LETTERS);
  memcpy(draft + 1, t->name, NAME_LETTERS + 1);
  csn_auto(csn_closep) int folder =
      csn_open_beneath(state_fd, "ports", O_RDONLY | O_DIRECTORY, 0, err);
  if (folder < 0)
    return folder;
  csn_auto(csn_closep) int fd =
      openat(folder, draft, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return csn_fail_errno(err, "cannot tell where the ports are");
  if (fcntl(fd, F_OFD_SETLK, &whole) < 0)
    rc = csn_fail_errno(err, "cannot lock the file that tells the ports");
  if (rc == 0)
    rc = csn_fd_write_all(fd, csn_buf_str(&text), err);
  if (rc == 0 && renameat(folder, draft, folder, t->name) < 0)
    rc = csn_fail_errno(err, "cannot name the file that tells the ports");
  if (rc < 0) {
    unlinkat(folder, draft, 0);
    return rc;
  }
  t->folder = folder;
  t->fd = fd;
  folder = fd = -1;
  return 0;
}

void
csn_ports_forget(csn_ports_told *t)
{
  if (t->fd < 0)
    return;
  unlinkat(t->folder, t->name, 0);
  close(t->fd);
  close(t->folder);
  *t = (csn_ports_told){.folder = -1, .fd = -1};
}

/* ---- reading ---- */

static bool
read_address(csn_str text, uint16_t *here)
{
  csn_str head = csn_cstr(loopback);
  int64_t n;
  if (!csn_str_starts(text, head) || !csn_str_int(csn_strn(text.p + head.n, text.n - head.n), &n) ||
      n < 1 || n > UINT16_MAX)
    return false;
  *here = (uint16_t)n;
  return true;
}

static bool
parse(csn_str text, csn_ports_seen *s)
{
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(0);
  const csn_json *v;
  *s = (csn_ports_seen){.pid = -1};
  if (csn_json_parse(tmp, text, &v, NULL) < 0)
    return false;
  csn_str id = csn_json_str(v, "id", CSN_STR(""));
  if (id.n == 0 || id.n >= sizeof s->id)
    return false;
  memcpy(s->id, id.p, id.n);
  s->pid = (pid_t)csn_json_int(v, "pid", -1);
  csn_json_each (one, csn_json_get(v, "ports")) {
    csn_port p = {0};
    int64_t port = csn_json_int(one, "port", 0);
    if (port < 1 || port > UINT16_MAX || s->n == CSN_COUNT(s->ports) ||
        !read_address(csn_json_str(one, "address", CSN_STR("")), &p.here))
      return false;
    p.port = (uint16_t)port;
    s->ports[s->n++] = p;
  }
  return true;
}

/* Whether somebody serves what the file tells. */
static bool
look(int folder, const char *name, csn_ports_seen *s)
{
  struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
  struct stat st;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(FILE_MAX_BYTES);
  csn_auto(csn_closep) int fd =
      openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fcntl(fd, F_OFD_GETLK, &whole) < 0)
    return false;
  if (whole.l_type == F_UNLCK) {
    unlinkat(folder, name, 0);
    return false;
  }
  return csn_fd_read_all(fd, &text, NULL) == 0 && parse(csn_buf_str(&text), s);
}

int
csn_ports_each(int state_fd, int (*fn)(void *user, const csn_ports_seen *s), void *user,
               csn_err *err)
{
  csn_err why;
  int fd = csn_open_beneath(state_fd, "ports", O_RDONLY | O_DIRECTORY, 0, &why), rc = 0;
  if (fd < 0) {
    if (why.code == CSN_E_NOT_FOUND)
      return 0;
    if (err)
      *err = why;
    return why.code;
  }
  DIR *folder = fdopendir(fd);
  if (!folder) {
    close(fd);
    return csn_fail_errno(err, "cannot read the folder of ports");
  }
  csn_auto(csn_freep) csn_ports_seen *s = csn_alloc(sizeof *s);
  for (struct dirent *d; rc == 0 && (d = readdir(folder));)
    if (d->d_name[0] != '.' && look(fd, d->d_name, s))
      rc = fn(user, s);
  closedir(folder);
  return rc;
}
