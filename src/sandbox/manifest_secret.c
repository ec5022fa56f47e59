/* SPDX-License-Identifier: Apache-2.0
 * manifest_secret.c - values that do not stand in a manifest: of repositories
 * and mounts. */
#include <fcntl.h>

#include "core/fd.h"
#include "sandbox/manifest_int.h"

int
csn_secret_find(const csn_manifest *m, int source_fd, const csn_secret_place *place, csn_buf *out,
                csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf file = CSN_BUF(out->cap);
  bool is_env = place->from_env.n > 0;
  const char *name = is_env ? place->from_env.p : place->from_file.p;
  csn_str value = csn_cstr(is_env ? getenv(name) : NULL);
  if (!is_env) {
    csn_auto(csn_closep) int fd =
        csn_source_open(m, source_fd, place->from_file, O_RDONLY | O_NONBLOCK, err);
    int rc = fd < 0 ? fd : csn_fd_read_all(fd, &file, err);
    if (rc < 0)
      return rc;
    value = csn_buf_str(&file);
  }
  value = csn_str_trim(value);
  int rc = 0;
  if (!value.n || value.n > out->cap)
    rc = csn_fail(err, CSN_E_INVALID, "%s %.100s is %s", is_env ? "the variable" : "the file", name,
                  value.n ? "too long" : "not set or empty");
  else
    csn_buf_add(out, value);
  if (file.p)
    explicit_bzero(file.p, file.n);
  return rc;
}

/* ---- of mounts ---- */

enum { VALUE_MAX = 64 << 10 };

/* The value of a field as a text of the arena. */
static int
find_value(const csn_manifest *m, int source_fd, csn_arena *a, const csn_json **field, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf value = CSN_BUF(VALUE_MAX);
  const csn_json *v = *field;
  int rc = 0;
  if (v->kind == CSN_JSON_STRING) {
    csn_buf_add(&value, v->text);
    rc = csn_buf_done(&value, "the value", err);
  } else if (csn_json_bool(v, "not_kept", false)) {
    rc = csn_fail(err, CSN_E_INVALID,
                  "it stood in the agent file and no journal keeps it; for a run that can be "
                  "resumed write {from_env: VARIABLE} or {from_file: PATH} there");
  } else {
    const csn_secret_place place = {csn_arena_dup(a, csn_json_str(v, "from_env", CSN_STR(""))),
                                    csn_arena_dup(a, csn_json_str(v, "from_file", CSN_STR("")))};
    rc = csn_secret_find(m, source_fd, &place, &value, err);
  }
  csn_json *found = csn_arena_alloc(a, sizeof *found);
  *found = (csn_json){.kind = CSN_JSON_STRING, .text = csn_arena_dup(a, csn_buf_str(&value))};
  *field = found;
  if (value.p)
    explicit_bzero(value.p, value.n);
  return rc;
}

int
csn_manifest_mounts(const csn_manifest *m, int source_fd, csn_arena *a, csn_mount ***out,
                    csn_err *err)
{
  csn_mount **list = csn_arena_alloc(a, (m->n_mounts + 1) * sizeof(csn_mount *));
  for (size_t i = 0; i < m->n_mounts; i++) {
    const csn_entry *e = m->mounts[m->n_mounts - 1 - i];
    csn_mount *copy = csn_arena_alloc(a, sizeof *copy);
    *copy = *e->mount;
    list[i] = copy;
    for (size_t k = 0; k < CSN_MOUNT_FIELDS_MAX; k++) {
      int rc = copy->fields[k] && csn_mount_field_is_secret(copy, k)
                   ? find_value(m, source_fd, a, &copy->fields[k], err)
                   : 0;
      if (rc < 0)
        return csn_entry_wrap(e, csn_wrap(err, rc, "%s", csn_mount_field(copy, k)), err);
    }
  }
  *out = list;
  return 0;
}

void
csn_mounts_wipe(csn_mount *const *list)
{
  for (; list && *list; list++)
    for (size_t k = 0; k < CSN_MOUNT_FIELDS_MAX; k++)
      if (csn_mount_field_is_secret(*list, k) && (*list)->fields[k])
        explicit_bzero((char *)(uintptr_t)(*list)->fields[k]->text.p, (*list)->fields[k]->text.n);
}
