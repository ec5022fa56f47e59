/* SPDX-License-Identifier: Apache-2.0
 * engine_probe.c - whether a container engine is there; for `caisson doctor`. */
#include "sandbox/engine.h"

enum { PROBE_MS = 3000 };

static void
add(csn_buf *note, const char *name, csn_str value)
{
  if (value.n && value.n < 100)
    csn_buf_addf(note, ", %s %.*s", name, (int)value.n, value.p);
}

/* What of our limits it cannot hold. */
static void
add_lacks(csn_buf *note, const csn_json *info)
{
  static const char *const names[][2] = {{"MemoryLimit", "memory"},
                                         {"SwapLimit", "swap"},
                                         {"PidsLimit", "pids"},
                                         {"CpuCfsQuota", "cpu"}};
  for (size_t i = 0; i < CSN_COUNT(names); i++)
    if (!csn_json_bool(info, names[i][0], false))
      csn_buf_addf(note, ", no limit of %s", names[i][1]);
}

bool
csn_engine_probe(csn_scope *sc, csn_buf *note)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *info = NULL;
  csn_engine e;
  csn_scope own;
  csn_err err;
  int rc = csn_engine_init(&e, (csn_str){0}, &err);
  csn_scope_init(&own, sc, PROBE_MS);
  if (rc == 0)
    rc = csn_engine_ask(&e, &own, "GET", "/info", (csn_str){0}, a, &info, &err);
  csn_scope_fini(&own);
  if (rc < 0) {
    csn_buf_addz(note, err.msg);
  } else {
    csn_buf_addz(note, e.host);
    add(note, "version", csn_json_str(info, "ServerVersion", (csn_str){0}));
    add(note, "storage", csn_json_str(info, "Driver", (csn_str){0}));
    add(note, "control groups", csn_json_str(info, "CgroupVersion", (csn_str){0}));
    csn_json_each (r, csn_json_get(info, "Runtimes"))
      if (!csn_str_starts(r->key, CSN_STR("io.containerd.")))
        add(note, "runtime", r->key);
    add_lacks(note, info);
  }
  csn_engine_fini(&e);
  return rc >= 0;
}
