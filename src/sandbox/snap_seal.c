/* SPDX-License-Identifier: Apache-2.0
 *
 * snap_seal.c - saved workspaces that are encrypted; see sandbox/snapshots.h.
 *
 * Contents and lists of files are sealed by the packs.  Here are the rest: the
 * records behind the names, each bound to its name, and a mark that says whether
 * the store is encrypted, and that only its keys open. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/fd.h"
#include "sandbox/snapshots.h"

enum { MARK_MAX = 4096, BINDING_MAX = CSN_SNAPSHOT_NAME_MAX + 10 };
static const char mark[] = "sealed", mark_of[] = "caisson snapshots 1\n";

static bool
is_empty(int dir)
{
  int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  bool empty = d != NULL;
  for (struct dirent *e; empty && (e = readdir(d));)
    empty = e->d_name[0] == '.'; /* what was never finished does not count */
  if (d)
    closedir(d);
  else
    csn_closep(&fd);
  return empty;
}

static int
take_lock(const csn_snapshots *s, int how, csn_err *err)
{
  while (flock(s->lock, how) < 0)
    if (errno != EINTR)
      return csn_fail_errno(err, "snapshots/lock");
  return 0;
}

/* CSN_E_NOT_FOUND: there is no mark. */
static int
open_mark(const csn_snapshots *s, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(MARK_MAX), plain = CSN_BUF(MARK_MAX);
  size_t key;
  csn_err why;
  int rc = csn_file_read(s->dir, mark, &text, err);
  if (rc < 0)
    return rc;
  if (!s->vault)
    return csn_fail(err, CSN_E_DENIED,
                    "the snapshots of this state folder are encrypted, and there are no keys for "
                    "them: name them in caisson.yaml, snapshots.keys");
  rc = csn_vault_open(s->vault, csn_cstr(mark_of), csn_buf_str(&text), &plain, &key, &why);
  return rc < 0 ? csn_fail(err, (enum csn_code)rc,
                           "the snapshots of this state folder cannot be opened with the keys of "
                           "caisson.yaml (snapshots.keys): %s; the key that they were made with "
                           "must be among them",
                           why.msg)
                : 0;
}

/* Nobody else has the store open. */
static int
make_mark(const csn_snapshots *s, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(MARK_MAX);
  if (!is_empty(s->names) || !is_empty(s->packs_dir))
    return csn_fail(err, CSN_E_DENIED,
                    "the snapshots of this state folder are not encrypted, and caisson.yaml has "
                    "keys for them (snapshots.keys): leave the keys out, or carry the snapshots "
                    "over by a store of type folder (docs/snapshots.md, Encryption)");
  int rc = csn_vault_seal(s->vault, csn_cstr(mark_of), csn_cstr(mark_of), &text, err);
  return rc < 0 ? rc : csn_file_write(s->dir, mark, csn_buf_str(&text), 0600, true, err);
}

int
csn_snapshots_check_seal(const csn_snapshots *s, csn_err *err)
{
  int rc = open_mark(s, err);
  if (rc != CSN_E_NOT_FOUND || !s->vault)
    return rc == CSN_E_NOT_FOUND ? 0 : rc;
  rc = take_lock(s, LOCK_EX, err);
  if (rc == 0)
    rc = open_mark(s, err); /* of who was faster */
  if (rc == CSN_E_NOT_FOUND)
    rc = make_mark(s, err);
  return rc < 0 ? rc : take_lock(s, LOCK_SH, err);
}

/* ---- records ---- */

static csn_str
binding(char text[BINDING_MAX], const char *name)
{
  snprintf(text, BINDING_MAX, "names/%s", name);
  return csn_cstr(text);
}

static int
replace(csn_buf *text, const csn_buf *with, int rc)
{
  if (rc == 0) {
    csn_buf_clear(text);
    csn_buf_add(text, csn_buf_str(with));
  }
  return rc;
}

int
csn_snapshot_record_seal(const csn_snapshots *s, const char *name, csn_buf *text, csn_err *err)
{
  char with[BINDING_MAX];
  csn_auto(csn_buf_finip) csn_buf sealed = CSN_BUF(MARK_MAX);
  if (!s->vault)
    return 0;
  int rc = csn_vault_seal(s->vault, binding(with, name), csn_buf_str(text), &sealed, err);
  return replace(text, &sealed, rc);
}

int
csn_snapshot_record_unseal(const csn_snapshots *s, const char *name, csn_buf *text, csn_err *err)
{
  char with[BINDING_MAX];
  size_t key;
  csn_auto(csn_buf_finip) csn_buf plain = CSN_BUF(MARK_MAX);
  if (!s->vault)
    return 0;
  int rc = csn_vault_open(s->vault, binding(with, name), csn_buf_str(text), &plain, &key, err);
  return replace(text, &plain, rc);
}

void
csn_unpacked_name(const csn_snapshots *s, const csn_digest *tree, char hex[65])
{
  csn_str plain = csn_strn((const char *)tree->b, sizeof tree->b);
  csn_digest of = s->vault ? csn_vault_blind(s->vault, 0, "unpacked", plain) : *tree;
  csn_digest_hex(&of, hex);
}
