/* SPDX-License-Identifier: Apache-2.0
 * manifest_check.c - see manifest_check.h. */
#include "sandbox/manifest_check.h"

#include <fcntl.h>

#include "sandbox/manifest_int.h"

struct look {
  const csn_manifest *m;
  csn_copy copy;
  csn_buf what;
  csn_err err;
};

/* Opens what the entry copies: a folder or a regular file. */
static int
look_at_source(struct look *k, const csn_entry *e)
{
  struct stat st;
  bool is_folder = e->kind == CSN_ENTRY_LOCAL_DIR;
  csn_auto(csn_closep) int fd =
      csn_source_open(k->m, k->copy.to->source_fd, e->src,
                      O_RDONLY | O_NONBLOCK | (is_folder ? O_DIRECTORY : 0), &k->err);
  if (fd < 0)
    return fd;
  if (fstat(fd, &st) < 0 || (!is_folder && !S_ISREG(st.st_mode)))
    return csn_fail(&k->err, CSN_E_INVALID, "src: not a regular file");
  if (!is_folder)
    csn_buf_addf(&k->what, ", %lld bytes", (long long)st.st_size);
  return e->kind == CSN_ENTRY_ARCHIVE ? csn_unpack_check(&k->copy, e, fd, &k->err) : 0;
}

static const char *
note_of(const csn_entry *e)
{
  if (e->kind == CSN_ENTRY_URL && !e->has_digest)
    return "without `sha256` whoever serves it decides what it is";
  if (e->kind == CSN_ENTRY_GIT_REPO && e->ref.n != 40)
    return "a branch or a tag may be another commit tomorrow; a whole commit name is not";
  return NULL;
}

static int
look_at(struct look *k, const csn_entry *e)
{
  csn_buf *b = &k->what;
  csn_buf_clear(b);
  switch (e->kind) {
  case CSN_ENTRY_FILE:
    csn_buf_addf(b, "%zu bytes", e->content.n);
    return 0;
  case CSN_ENTRY_LOCAL_FILE:
  case CSN_ENTRY_LOCAL_DIR:
    if (!e->has_src)
      return 0;
    csn_buf_addf(b, "a copy of %.200s", e->src.p);
    return look_at_source(k, e);
  case CSN_ENTRY_ARCHIVE:
    csn_buf_addf(b, "out of %.200s", e->src.p);
    return look_at_source(k, e);
  case CSN_ENTRY_GIT_REPO:
    if (csn_str_starts(e->repo, CSN_STR("file://")))
      csn_buf_addf(b, "%.200s at %.100s", e->repo.p, e->ref.p);
    else
      csn_buf_addf(b, "https://%.100s/%.200s at %.100s", e->host.p, e->repo.p, e->ref.p);
    return 0;
  case CSN_ENTRY_URL:
    csn_buf_addf(b, "%s%.300s", e->extracts ? "out of " : "", e->url.p);
    return 0;
  case CSN_ENTRY_MOUNT:
    csn_buf_addf(b, "at %.200s%s", e->mount->place.p, e->mount->is_read_only ? ", read-only" : "");
    return 0; /* which back-ends can do it is said before a run */
  case CSN_ENTRY_DIR:
  default:
    return 0;
  }
}

size_t
csn_manifest_look(const csn_manifest *m, csn_scope *sc, int source_fd,
                  void (*fn)(void *user, const csn_manifest_line *l), void *user)
{
  const csn_materialize to = {.workspace_fd = -1, .base_fd = -1, .source_fd = source_fd};
  struct look k = {.m = m, .copy = {.m = m, .to = &to, .sc = sc}, .what = CSN_BUF(1024)};
  size_t problems = 0;
  for (size_t i = 0; i < m->n_sorted; i++) {
    const csn_entry *e = m->sorted[i];
    int rc = look_at(&k, e);
    problems += rc < 0;
    const csn_manifest_line l = {.where = e->where.p,
                                 .line = e->line,
                                 .path = e->path.p,
                                 .type = csn_entry_word(e),
                                 .what = k.what.p ? k.what.p : "",
                                 .problem = rc < 0 ? k.err.msg : NULL,
                                 .note = note_of(e),
                                 .mode = csn_entry_mode(e),
                                 .is_ephemeral = e->is_ephemeral};
    fn(user, &l);
  }
  csn_buf_fini(&k.what);
  return problems;
}
