/* SPDX-License-Identifier: Apache-2.0
 * mount_inside.c - see mount_inside.h. */
#include "sandbox/mount_inside.h"

#include <stdio.h>
#include <unistd.h>

#include "core/fd.h"
#include "sandbox/backends.h"
#include "sandbox/mount_authority.h"
#include "sandbox/mount_plan.h"

enum { MOUNT_MS = 150000, UNDO_MS = 30000, SAID_MAX = 4096, BASE_MAX = 256 << 10 };

static int
perform(csn_sandbox *sb, csn_scope *sc, const csn_mount_plan *plan, int64_t most_ms, csn_buf *said,
        csn_exit *end, csn_err *err)
{
  csn_auto(csn_closep) int from = plan->input.n ? csn_fd_memory("caisson", plan->input, err) : -1;
  if (plan->input.n && from < 0)
    return from;
  csn_scope own;
  csn_scope_init(&own, sc, most_ms);
  const csn_errand e = {.argv = plan->argv, .from = from, .to = -1, .said = said};
  int rc = csn_sandbox_errand(sb, &own, &e, end, err);
  csn_scope_fini(&own);
  return rc;
}

/* The file that config_file_path names. */
static int
read_base(csn_sandbox *sb, csn_scope *sc, const csn_mount *m, csn_buf *out, csn_err *err)
{
  csn_str path = csn_json_str(m->pattern_json, "config_file_path", CSN_STR(""));
  if (!path.n || m->pattern != CSN_MOUNT_RCLONE)
    return 0;
  csn_auto(csn_freep) char *name = csn_dupz(path);
  const char *const argv[] = {"cat", "--", name, NULL};
  const csn_mount_plan plan = {argv, {0}};
  csn_exit end;
  int rc = perform(sb, sc, &plan, UNDO_MS, out, &end, err);
  if (rc == 0 && end.code != 0)
    rc = csn_fail(err, CSN_E_NOT_FOUND, "config_file_path: no file %.200s in the sandbox", name);
  return rc;
}

static int
lacks_tool(csn_str tool, csn_err *err)
{
  static const char *const hints[][2] = {
      {"rclone", "the packages rclone and fuse3"},
      {"fusermount", "the package fuse3"},
      {"rclone serve nfs", "rclone 1.65 or newer"},
      {"mount.nfs", "the package nfs-common"},
      {"mount-s3", "the package mount-s3 that AWS publishes as Mountpoint for Amazon S3"},
      {"blobfuse2", "the package blobfuse2 of Microsoft's repository"},
      {"mount.s3files", "the package amazon-efs-utils of AWS"},
  };
  const char *hint = "the tool";
  for (size_t i = 0; i < CSN_COUNT(hints); i++)
    if (csn_str_eq(tool, csn_cstr(hints[i][0])))
      hint = hints[i][1];
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "there is no %.*s in the sandbox (mount_missing_tool): put %s into its image or "
                  "template",
                  (int)(tool.n & 0x3f), tool.p ? tool.p : "", hint);
}

static int
judge(const csn_mount *m, const csn_exit *end, csn_buf *said, csn_err *err)
{
  csn_str text = csn_str_trim(csn_buf_str(said));
  if (end->code == 0)
    return 0;
  if (end->code == CSN_MOUNT_LACKS)
    return lacks_tool(text, err);
  if (end->code == CSN_MOUNT_NO_ROOM)
    return csn_fail(err, CSN_E_SANDBOX,
                    "its folder, or one in /tmp for the configuration, cannot be made there");
  csn_mount_redact(m, said);
  text = csn_str_trim(csn_buf_str(said));
  size_t n = text.n > 300 ? 300 : text.n; /* the end says why */
  return csn_fail(err, CSN_E_SANDBOX, "mount_failed: %.*s", (int)n,
                  n ? text.p + text.n - n : "the tool said nothing");
}

int
csn_mount_inside_open(csn_sandbox *sb, csn_scope *sc, const csn_mount *m, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf base = CSN_BUF(BASE_MAX), said = CSN_BUF(SAID_MAX);
  csn_mount_plan plan = {0};
  csn_exit end = {0};
  int rc = read_base(sb, sc, m, &base, err);
  if (rc == 0)
    rc = csn_mount_plan_make(m, csn_cstr(sb->root), csn_buf_str(&base), a, &plan, err);
  if (rc == 0)
    rc = perform(sb, sc, &plan, MOUNT_MS, &said, &end, err);
  if (rc == 0)
    rc = judge(m, &end, &said, err);
  if (plan.input.n)
    explicit_bzero((char *)(uintptr_t)plan.input.p, plan.input.n);
  if (base.p)
    explicit_bzero(base.p, base.n);
  return rc < 0 ? csn_wrap(err, csn_mount_redact_err(m, rc, err), "the mount at %s", m->place.p)
                : 0;
}

int
csn_mount_inside_close(csn_sandbox *sb, csn_scope *sc, const csn_mount *m, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(SAID_MAX);
  csn_mount_plan plan;
  csn_exit end = {0};
  csn_mount_plan_undo(m, a, &plan);
  int rc = perform(sb, sc, &plan, UNDO_MS, &said, &end, err);
  if (rc == 0 && end.code != 0)
    rc = csn_fail(err, CSN_E_SANDBOX, "it cannot be taken away: something uses it");
  return csn_wrap(err, rc, "the mount at %s", m->place.p);
}
