/* SPDX-License-Identifier: Apache-2.0
 * told.c - see told.h. */
#include "run/told.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/fd.h"
#include "run/memory.h"
#include "run/workspace_look.h"

void
csn_telling_fini(struct csn_telling *t)
{
  csn_agent_free(t->agent);
  csn_arena_free(t->arena);
  *t = (struct csn_telling){0};
}

/* ---- of a run ---- */

static int
take_record(void *user, const csn_record *rec, csn_err *err)
{
  struct csn_telling *t = user;
  static const char *const kinds[] = {"input", "sandbox_ready", "callback_returned", NULL};
  const csn_json *v;
  if (rec->seq && !csn_str_is_one_of(rec->kind, kinds))
    return 0;
  int rc = csn_json_parse(t->arena, csn_arena_dup(t->arena, rec->data), &v, err);
  if (rc == 0 && !t->agent)
    return csn_agent_from_json(&t->agent, csn_json_get(v, "agent"), "record 0", ".", err);
  const csn_json *workspace = csn_json_get(v, "context"), *text = csn_json_get(v, "text");
  if (workspace)
    t->told.workspace = workspace;
  if (csn_json_get(v, "memory"))
    t->told.memory = csn_memory_recall(t->store, csn_json_get(v, "memory"), t->arena);
  if (text)
    t->own = text->text;
  return rc;
}

int
csn_telling_read(struct csn_telling *t, csn_store *store, csn_journal *j, csn_err *err)
{
  *t = (struct csn_telling){.arena = csn_arena_new(0), .store = store};
  int rc = csn_journal_read(j, 0, take_record, t, err);
  if (rc == 0 && !t->agent)
    rc = csn_fail(err, CSN_E_REPLAY, "the run has no records");
  return rc;
}

/* ---- of a file ---- */

static int
lay_out(const csn_agent *a, csn_scope *sc, int workspace, csn_err *err)
{
  csn_auto(csn_closep) int source = open(a->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (source < 0)
    return csn_fail_errno(err, "folder of the agent file %s", a->folder);
  csn_materialize to = {.workspace_fd = workspace,
                        .base_fd = -1,
                        .source_fd = source,
                        .cache_fd = -1,
                        .uid = -1,
                        .gid = -1};
  return a->manifest ? csn_manifest_apply(a->manifest, sc, &to, err) : 0;
}

static int
look(struct csn_telling *t, csn_scope *sc, int top, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf context = CSN_BUF(8 << 20);
  const csn_agent *a = t->agent;
  int rc = csn_mkdirs(top, "workspace", 0700, err);
  csn_auto(csn_closep) int workspace =
      rc < 0 ? rc : csn_open_beneath(top, "workspace", O_RDONLY | O_DIRECTORY, 0, err);
  if (workspace < 0)
    return workspace;
  rc = lay_out(a, sc, workspace, err);
  struct csn_skill_places p = {.workspace_fd = workspace,
                               .cache_fd = top,
                               .root = a->manifest ? csn_manifest_root(a->manifest) : "/workspace",
                               .folder = a->folder,
                               .cwd = a->sandbox.cwd};
  if (rc == 0)
    rc = csn_workspace_look(a, sc, &p, &context, err);
  if (rc == 0 && context.n)
    rc = csn_json_parse(t->arena, csn_arena_dup(t->arena, csn_buf_str(&context)),
                        &t->told.workspace, err);
  return rc;
}

int
csn_telling_try(struct csn_telling *t, csn_scope *sc, const char *file, int state_fd, csn_err *err)
{
  *t = (struct csn_telling){.arena = csn_arena_new(0)};
  csn_auto(csn_buf_finip) csn_buf memory = CSN_BUF(1 << 20);
  bool untrusted;
  int rc = csn_agent_load(&t->agent, file, err);
  if (rc == 0 && t->agent->memory && state_fd >= 0)
    rc = csn_memory_read(t->agent, state_fd, &memory, &untrusted, err);
  if (rc < 0)
    return rc;
  t->told.memory = csn_arena_dup(t->arena, csn_buf_str(&memory));
  if (!t->agent->has_sandbox)
    return 0;
  const char *folder = getenv("TMPDIR");
  csn_str name = csn_arena_printf(t->arena, "%s/caisson-XXXXXX", folder ? folder : "/tmp");
  char *path = (char *)(uintptr_t)name.p;
  if (!mkdtemp(path))
    return csn_fail_errno(err, "cannot make a temporary folder %s", path);
  csn_auto(csn_closep) int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  rc = top < 0 ? csn_fail_errno(err, "the folder %s", path) : look(t, sc, top, err);
  csn_auto(csn_closep) int parent =
      top < 0 ? -1 : open(folder ? folder : "/tmp", O_PATH | O_CLOEXEC);
  if (parent >= 0)
    (void)!csn_remove_tree(parent, strrchr(path, '/') + 1, NULL);
  return rc;
}

int
csn_telling_write(const struct csn_telling *t, const char *agent, csn_buf *out, csn_err *err)
{
  const csn_agent *a = agent ? csn_agent_member(t->agent, csn_cstr(agent)) : t->agent;
  if (!a)
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no agent %s in it", agent);
  return csn_instructions_write(a, t->own.n ? t->own : a->instructions, &t->told, out, err);
}
