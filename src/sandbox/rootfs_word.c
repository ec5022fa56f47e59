/* SPDX-License-Identifier: Apache-2.0
 *
 * rootfs_word.c - how people name a root file system; see
 * sandbox/rootfs_word.h. */
#include "sandbox/rootfs_word.h"

#include "caisson/mem.h"

static const struct {
  csn_str head;
  enum csn_rootfs_kind kind;
} schemes[] = {
    {CSN_STR_INIT("dir:"), CSN_ROOTFS_FOLDER},
    {CSN_STR_INIT("tar:"), CSN_ROOTFS_TAR},
    {CSN_STR_INIT("oci:"), CSN_ROOTFS_OCI},
    {CSN_STR_INIT("image:"), CSN_ROOTFS_IMAGE},
};

int
csn_rootfs_word_parse(csn_str text, csn_rootfs_word *out, csn_err *err)
{
  *out = (csn_rootfs_word){.kind = CSN_ROOTFS_HOST, .path = CSN_STR("")};
  if (text.n == 0 || csn_str_eq(text, CSN_STR("host")))
    return 0;
  for (size_t i = 0; i < CSN_COUNT(schemes); i++)
    if (csn_str_starts(text, schemes[i].head) && text.n > schemes[i].head.n) {
      out->kind = schemes[i].kind;
      out->path = csn_strn(text.p + schemes[i].head.n, text.n - schemes[i].head.n);
      return 0;
    }
  if (text.p[0] != '/')
    return csn_fail(err, CSN_E_INVALID,
                    "rootfs \"%.*s\": expected host, an absolute path of a folder, dir:PATH, "
                    "tar:FILE, oci:PATH or image:NAME",
                    (int)(text.n < 100 ? text.n : 100), text.p);
  *out = (csn_rootfs_word){.kind = CSN_ROOTFS_FOLDER, .path = text};
  return 0;
}

/* "docker:x": a word that we may not know, and not a path. */
static bool
has_scheme(csn_str text)
{
  size_t n = 0;
  while (n < text.n && text.p[n] >= 'a' && text.p[n] <= 'z')
    n++;
  return n > 0 && n < text.n && text.p[n] == ':';
}

void
csn_rootfs_word_resolve(csn_buf *out, csn_str text, const char *folder)
{
  csn_str head = CSN_STR(""), path = text;
  bool is_path = text.n && !csn_str_eq(text, CSN_STR("host")) && !has_scheme(text);
  for (size_t i = 0; i < CSN_COUNT(schemes); i++)
    if (csn_str_starts(text, schemes[i].head)) {
      head = schemes[i].head;
      path = csn_strn(text.p + head.n, text.n - head.n);
      is_path = schemes[i].kind != CSN_ROOTFS_IMAGE;
    }
  csn_buf_add(out, head);
  if (is_path && path.n && path.p[0] != '/')
    csn_buf_addf(out, "%s/", folder);
  csn_buf_add(out, path);
}
