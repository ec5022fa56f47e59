/* SPDX-License-Identifier: Apache-2.0
 *
 * play.c - lets a playbook work on a folder without a harness or a sandbox:
 *
 *     play PLAYBOOK FOLDER [TASK]
 *
 * asks the script model, runs its commands in FOLDER on this machine, applies
 * its patches there, and prints what is said.  0: it ended with an answer, 1:
 * with a refusal, 2: it could not go on.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include "caisson/model.h"
#include "caisson/patch.h"
#include "core/fd.h"

enum { TURNS_MAX = 60, ITEMS_MAX = 400, OUTPUT_MAX_BYTES = 1 << 20 };

struct play {
  csn_arena *arena;
  csn_str items[ITEMS_MAX];
  csn_model_request rq;
  const char *folder;
  int folder_fd;
};

static void
add(struct play *p, const csn_buf *b)
{
  p->rq.items = p->items;
  if (p->rq.n_items < ITEMS_MAX)
    p->items[p->rq.n_items++] = csn_arena_dup(p->arena, csn_buf_str(b));
}

/* Runs `sh -c cmd` and frames what it gave. */
static int
run_command(struct play *p, csn_str args, csn_buf *out, csn_err *err)
{
  const csn_json *v;
  int rc = csn_json_parse(p->arena, args, &v, err);
  if (rc < 0)
    return rc;
  csn_str cmd = csn_json_str(v, "cmd", CSN_STR("")), dir = csn_json_str(v, "workdir", CSN_STR("."));
  cmd = csn_arena_dup(p->arena, cmd);
  csn_str where = csn_arena_printf(p->arena, "%s/%.*s", p->folder, (int)dir.n, dir.p);
  printf("$ %.*s\n", (int)cmd.n, cmd.p);
  fflush(stdout);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "pipe");
  pid_t pid = fork();
  if (pid == 0) {
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0 && dup2(null, 0) >= 0 && dup2(ends[1], 1) >= 0 && dup2(ends[1], 2) >= 0 &&
        chdir(where.p) == 0)
      execl("/bin/sh", "sh", "-c", cmd.p, NULL);
    _exit(127);
  }
  close(ends[1]);
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(OUTPUT_MAX_BYTES);
  rc = csn_fd_read_all(ends[0], &said, err);
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  csn_buf_addf(out, "Chunk ID: abc123\nWall time: 0.0123 seconds\nProcess exited with code %d\n",
               WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  csn_buf_addz(out, "Output:\n");
  csn_buf_add(out, csn_buf_str(&said));
  return rc;
}

static void
apply(struct play *p, csn_str text, csn_buf *out)
{
  csn_err err;
  csn_auto(csn_patch_freep) csn_patch *patch = NULL;
  printf("%.*s", (int)text.n, text.p);
  int rc = csn_patch_parse(&patch, text, &err);
  if (rc >= 0)
    rc = csn_patch_plan(patch, p->folder_fd, NULL, NULL, &err);
  if (rc >= 0)
    rc = csn_patch_stage(patch, -1, -1, &err);
  if (rc >= 0)
    rc = csn_patch_commit(patch, NULL, NULL, &err);
  if (rc >= 0)
    csn_patch_report(patch, out);
  else
    csn_buf_addz(out, err.msg);
}

static int
call(struct play *p, const csn_json *item, csn_err *err)
{
  csn_str name = csn_json_str(item, "name", CSN_STR(""));
  bool is_patch = csn_str_eq(name, CSN_STR("apply_patch"));
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(2 * OUTPUT_MAX_BYTES);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(16 * OUTPUT_MAX_BYTES);
  int rc = 0;
  if (is_patch)
    apply(p, csn_json_str(item, "input", CSN_STR("")), &out);
  else if (csn_str_eq(name, CSN_STR("exec_command")))
    rc = run_command(p, csn_json_str(item, "arguments", CSN_STR("")), &out, err);
  else
    rc = csn_fail(err, CSN_E_UNSUPPORTED, "no tool %.*s here", (int)name.n, name.p);
  if (rc < 0)
    return rc;
  printf("%.*s\n", (int)out.n, out.n ? out.p : "");
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, is_patch ? "custom_tool_call_output" : "function_call_output");
  csn_jw_key(&w, "call_id");
  csn_jw_str(&w, csn_json_str(item, "call_id", CSN_STR("")));
  csn_jw_key(&w, "output");
  csn_jw_str(&w, csn_buf_str(&out));
  csn_jw_end(&w);
  rc = csn_jw_done(&w, err);
  add(p, &b);
  return rc;
}

/* 1: there were calls; 0: an answer; 10: a refusal. */
static int
perform(struct play *p, const csn_model_reply *reply, csn_err *err)
{
  int calls = 0, rc = 0;
  bool refused = false;
  for (size_t i = 0; i < reply->n_items; i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(16 * OUTPUT_MAX_BYTES);
    csn_buf_add(&b, reply->items[i]);
    add(p, &b);
  }
  for (size_t i = 0; i < reply->n_items && rc >= 0; i++) {
    const csn_json *item;
    rc = csn_json_parse(p->arena, reply->items[i], &item, err);
    if (rc < 0)
      break;
    const csn_json *part = csn_json_at(csn_json_get(item, "content"), 0);
    csn_str refusal = csn_json_str(part, "refusal", CSN_STR(""));
    csn_str text = csn_json_str(part, "text", refusal);
    refused = refused || refusal.n > 0;
    if (part)
      printf("%s%.*s\n", refusal.n ? "REFUSED: " : "", (int)text.n, text.n ? text.p : "");
    else
      rc = call(p, item, err);
    calls += !part;
  }
  return rc < 0 ? rc : calls ? 1 : refused ? 10 : 0;
}

int
main(int argc, char **argv)
{
  if (argc < 3)
    return 2;
  struct play p = {.arena = csn_arena_new(0), .folder = argv[2]};
  p.folder_fd = open(p.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_buf b = CSN_BUF(10000);
  csn_buf_addz(&b, "{\"role\":\"user\",\"content\":");
  csn_json_quote(&b, csn_cstr(argc > 3 ? argv[3] : "Find out why the tests fail, and fix them."));
  csn_buf_addc(&b, '}');
  add(&p, &b);
  csn_buf_fini(&b);
  csn_err err = {.msg = "no such folder, or too many turns"};
  int rc = p.folder_fd < 0 ? -1 : 1;
  for (int turn = 1; rc == 1 && turn <= TURNS_MAX; turn++) {
    csn_model_reply reply;
    printf("---- turn %d\n", turn);
    rc = csn_model_find(CSN_STR("script"))->answer(p.arena, csn_cstr(argv[1]), &p.rq, &reply, &err);
    if (rc >= 0)
      rc = perform(&p, &reply, &err);
  }
  if (rc < 0 || rc == 1)
    fprintf(stderr, "play: %s\n", err.msg);
  close(p.folder_fd);
  csn_arena_free(p.arena);
  return rc == 0 ? 0 : rc == 10 ? 1 : 2;
}
