/* SPDX-License-Identifier: Apache-2.0
 * snap_record.c - what is known of a snapshot, as JSON; see sandbox/snapshots.h. */
#include <stdio.h>

#include "sandbox/snapshots.h"

static void
write_numbers(const csn_snapshot *r, csn_jw *w)
{
  const struct {
    const char *key;
    int64_t value;
  } numbers[] = {{"created_ms", r->created_ms},
                 {"files", r->files},
                 {"bytes", r->bytes},
                 {"left_out", r->left_out},
                 {"links_out", r->links_out}};
  for (size_t i = 0; i < CSN_COUNT(numbers); i++) {
    csn_jw_key(w, numbers[i].key);
    csn_jw_int(w, numbers[i].value);
  }
  if (r->tag[0]) {
    csn_jw_key(w, "tag");
    csn_jw_strz(w, r->tag);
  }
}

void
csn_snapshot_to_json(const csn_snapshot *r, csn_jw *w)
{
  char hex[80] = "sha256:";
  csn_digest_hex(&r->tree, hex + 7);
  csn_jw_obj(w);
  csn_jw_key(w, "name");
  csn_jw_strz(w, r->name);
  csn_jw_key(w, "tree");
  csn_jw_strz(w, hex);
  write_numbers(r, w);
  csn_jw_end(w);
}

void
csn_snapshot_record_write(const csn_snapshot *r, csn_jw *w)
{
  char hex[65];
  csn_digest_hex(&r->tree, hex);
  csn_jw_key(w, "format");
  csn_jw_int(w, 1);
  csn_jw_key(w, "tree");
  csn_jw_strz(w, hex);
  write_numbers(r, w);
}

int
csn_snapshot_record_read(const csn_json *v, csn_snapshot *out, csn_err *err)
{
  csn_str tree = {NULL, 0}, tag = csn_json_str(v, "tag", CSN_STR(""));
  int rc = csn_json_need_str(v, "tree", &tree, err);
  *out = (csn_snapshot){.created_ms = csn_json_int(v, "created_ms", 0),
                        .files = csn_json_int(v, "files", 0),
                        .bytes = csn_json_int(v, "bytes", 0),
                        .left_out = csn_json_int(v, "left_out", 0),
                        .links_out = csn_json_int(v, "links_out", 0)};
  if (tag.n < sizeof out->tag)
    snprintf(out->tag, sizeof out->tag, "%.*s", (int)tag.n, tag.n ? tag.p : "");
  bool is_good = csn_json_int(v, "format", 0) == 1 && tag.n < sizeof out->tag &&
                 (!out->tag[0] || csn_snapshot_name_check(out->tag, NULL) == 0);
  if (rc == 0 && (!is_good || !csn_digest_from_hex(tree, &out->tree)))
    rc = csn_fail(err, CSN_E_PARSE, "it is of another version, or damaged");
  return rc;
}

void
csn_snapshot_record_close(csn_buf *text)
{
  char hex[65];
  csn_buf_addc(text, '\n');
  csn_digest sum = csn_sha256_of(csn_buf_str(text));
  csn_digest_hex(&sum, hex);
  csn_buf_addf(text, "%s\n", hex);
}

int
csn_snapshot_record_open(csn_str *text, csn_err *err)
{
  enum { LINE = 65 };
  csn_digest sum, own;
  bool is_good = text->n > LINE && text->p[text->n - 1] == '\n' &&
                 csn_digest_from_hex(csn_strn(text->p + text->n - LINE, LINE - 1), &sum);
  text->n -= is_good ? LINE : 0;
  own = csn_sha256_of(*text);
  if (!is_good || memcmp(&sum, &own, sizeof sum) != 0)
    return csn_fail(err, CSN_E_PARSE, "it is damaged: its check sum is wrong");
  return 0;
}
