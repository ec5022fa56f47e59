/* SPDX-License-Identifier: Apache-2.0
 * box_lost.c - a workspace that is gone: the run goes on in a new one, with the
 * last checkpoint or as it began, and its model hears what is missing.
 *
 * The text for the model is in the file `lost` of the folder before the new
 * workspace counts as made, and goes once it is in the journal: in the output of
 * the next call that works in the sandbox, or, when no call is under way, in a
 * message. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/box_mount.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "run/items.h"
#include "sandbox/guard.h"

enum { CALLS_TOLD = 30, CALL_TOLD_BYTES = 120 };

/* ---- whether it is ---- */

static bool
is_removed(int fd)
{
  struct stat st;
  return fd >= 0 && (fstat(fd, &st) < 0 || st.st_nlink == 0);
}

/* It was made, and is not there any more. */
static bool
is_lost(struct csn_box *b)
{
  if (is_removed(b->folder_fd) || is_removed(b->workspace_fd))
    return true;
  if (b->sb)
    return false;
  csn_auto(csn_closep) int own =
      b->folder_fd < 0 ? csn_box_folder(b->run->rt, csn_box_id(b), NULL) : -1;
  int folder = b->folder_fd < 0 ? own : b->folder_fd;
  return folder < 0 || !csn_box_is_there(folder);
}

/* ---- what the model hears ---- */

static void
add_call(csn_buf *out, const csn_json *call, bool is_custom)
{
  csn_str name = csn_json_str(call, "name", CSN_STR("?"));
  csn_str input = csn_json_str(call, is_custom ? "input" : "arguments", CSN_STR(""));
  if (input.n > CALL_TOLD_BYTES)
    input = csn_strn(input.p, CALL_TOLD_BYTES);
  input.n = csn_utf8_valid(input);
  csn_buf_addf(out, "- %.*s ", (int)name.n, name.p);
  for (size_t i = 0; i < input.n; i++)
    csn_buf_addc(out, (unsigned char)input.p[i] < ' ' ? ' ' : input.p[i]);
  csn_buf_addc(out, '\n');
}

/* Of several sandboxes: the call names it, or none and it is the first. */
static bool
is_about(const struct csn_box *b, const csn_json *call, csn_arena *a)
{
  const csn_json *args = NULL;
  if (!b->name || csn_json_parse(a, csn_json_str(call, "arguments", CSN_STR("")), &args, NULL) < 0)
    return true;
  csn_str name = csn_json_str(args, "sandbox", CSN_STR(""));
  csn_str to = csn_json_str(args, "to", CSN_STR("")); /* of copy_files */
  bool is_first = b->index == 0 && !name.n && !to.n;
  return is_first || csn_str_eq(name, csn_cstr(b->name)) || csn_str_eq(to, csn_cstr(b->name));
}

/* The calls of this run after the record `seq`, the newest ones of many. */
static void
add_calls(const struct csn_box *b, int64_t seq, csn_buf *out)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *calls[CALLS_TOLD];
  size_t n = 0;
  for (size_t i = 0; i < b->run->n_items; i++) {
    const csn_json *item;
    if (b->run->items[i].seq <= seq || csn_json_parse(a, b->run->items[i].raw, &item, NULL) < 0)
      continue;
    csn_str type = csn_json_str(item, "type", CSN_STR(""));
    bool is_call =
        csn_str_eq(type, CSN_STR("function_call")) || csn_str_eq(type, CSN_STR("custom_tool_call"));
    if (is_call && is_about(b, item, a))
      calls[n++ % CALLS_TOLD] = item;
  }
  if (n == 0)
    csn_buf_addz(out, "No call was made after that.\n");
  else
    csn_buf_addz(out,
                 "What these calls changed in the workspace after that is missing; one that had "
                 "begun and has no result was not made again:\n");
  if (n > CALLS_TOLD)
    csn_buf_addf(out, "- %zu earlier ones\n", n - CALLS_TOLD);
  for (size_t i = n > CALLS_TOLD ? n - CALLS_TOLD : 0; i < n; i++) {
    const csn_json *call = calls[i % CALLS_TOLD];
    add_call(out, call,
             csn_str_eq(csn_json_str(call, "type", CSN_STR("")), CSN_STR("custom_tool_call")));
  }
}

static void
write_news(const struct csn_box *b, const struct csn_box_saved *from, csn_buf *out)
{
  csn_buf_addf(out, "[The sandbox%s%s was lost with its workspace, and another took its place. ",
               b->name ? " " : "", b->name ? b->name : "");
  if (from)
    csn_buf_addz(out, "Its files are those of a checkpoint that was made before. ");
  else if (b->from)
    csn_buf_addz(out, "Its files are those of the snapshot that the work began with. ");
  else
    csn_buf_addz(out, "Its files are those that the work began with. ");
  csn_buf_addz(out, "Processes and files outside of the workspace are gone.\n");
  add_calls(b, from ? from->seq : -1, out);
  csn_buf_addz(out, "Look at the state before you go on.]");
}

int
csn_box_write_news(struct csn_box *b, csn_str text, csn_err *err)
{
  return csn_file_write(b->folder_fd, "lost", text, 0600, false, err);
}

void
csn_box_take_news(struct csn_box *b, csn_str text)
{
  free(b->news);
  b->news = csn_dupz(text);
  b->n_lost++;
}

/* What an earlier life of the run did not come to tell. */
static void
read_news(struct csn_box *b)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_BOX_NEWS_MAX);
  if (!b->news && csn_file_read(b->folder_fd, "lost", &text, NULL) == 0 && text.n)
    csn_box_take_news(b, csn_buf_str(&text));
}

void
csn_box_news(const csn_run *r, struct csn_box *b, csn_buf *out)
{
  pthread_mutex_lock(&b->lock);
  if (r->n_news[b->index] < b->n_lost && b->news)
    csn_buf_addz(out, b->news);
  pthread_mutex_unlock(&b->lock);
}

void
csn_box_news_told(csn_run *r, struct csn_box *b)
{
  pthread_mutex_lock(&b->lock);
  r->n_news[b->index] = b->n_lost;
  if (r == b->run && b->folder_fd >= 0)
    (void)!unlinkat(b->folder_fd, "lost", 0);
  pthread_mutex_unlock(&b->lock);
}

/* ---- going on ---- */

/* Nothing tells any more which of the calls under way had begun: none is made
 * again. */
static int
claim_pending(const struct csn_box *b, const csn_run *r,
              csn_err *err) /* NOLINT(misc-no-recursion) */
{
  int folder = b->folder_fd;
  char name[CSN_CLAIM_NAME];
  int rc = csn_mkdirs(folder, "claims", 0700, err);
  for (size_t i = 0; rc == 0 && i < r->state.n_pending; i++) {
    const csn_pending *p = &r->state.pending[i];
    if (p->kind != CSN_DO_TOOL_CALL || p->seq < 0)
      continue;
    csn_claim_name(r, p->seq, name);
    rc = csn_file_write(folder, name, CSN_STR("1"), 0600, false, err);
  }
  for (csn_run *k = csn_child_next(r, NULL); rc == 0 && k; k = csn_child_next(r, k))
    rc = claim_pending(b, k, err);
  return rc;
}

static int
begin_anew(struct csn_box *b, const struct csn_box_saved *from, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf news = CSN_BUF(CSN_BOX_NEWS_MAX);
  int rc = csn_box_lock_folder(b, err);
  if (rc < 0)
    return rc;
  write_news(b, from, &news);
  /* Its own mark first: what is there from now on is not whole. */
  rc = csn_file_write(b->folder_fd, "making", CSN_STR(""), 0600, false, err);
  if (rc == 0)
    rc = csn_box_write_news(b, csn_buf_str(&news), err);
  if (rc == 0)
    rc = claim_pending(b, b->run, err);
  if (rc == 0)
    rc = csn_box_begin(b, &b->run->scope, from, err);
  if (rc == 0)
    csn_box_take_news(b, csn_buf_str(&news));
  return rc;
}

/* From the newest checkpoint that can be used. */
static int
restore(struct csn_box *b, const struct csn_box_saved **used, csn_err *err)
{
  csn_err why;
  for (size_t i = b->n_saved; i > 0; i--) {
    *used = &b->saved[i - 1];
    int rc = csn_box_abandon(b, &why);
    if (rc == 0)
      rc = begin_anew(b, *used, &why);
    if (rc == 0)
      return 0;
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "checkpoint %s: %s", (*used)->name, why.msg);
    if (rc == CSN_E_CANCELLED || rc == CSN_E_CONFLICT)
      return csn_fail(err, (enum csn_code)rc, "%s", why.msg);
  }
  *used = NULL;
  int rc = csn_box_abandon(b, err);
  if (rc == 0)
    rc = begin_anew(b, NULL, err);
  if (rc < 0)
    (void)!csn_box_abandon(b, NULL);
  return csn_wrap(err, rc, "the workspace was lost and cannot be made anew");
}

/* ---- opening ---- */

void
csn_box_deliver_loss(struct csn_box *b, const struct csn_box_saved *from, csn_str news)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4 * CSN_BOXES_MAX * CSN_BOX_NEWS_MAX);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "restored");
  csn_jw_obj(&w);
  csn_jw_key(&w, "backend");
  csn_jw_strz(&w, b->agent->sandbox.backend);
  if (b->index) {
    csn_jw_key(&w, "sandbox");
    csn_jw_strz(&w, b->name);
  }
  if (from) {
    csn_jw_key(&w, "snapshot");
    csn_jw_strz(&w, from->name);
    csn_jw_key(&w, "checkpoint");
    csn_jw_int(&w, from->seq);
  }
  csn_jw_end(&w);
  if (news.n) {
    csn_jw_key(&w, "items");
    csn_jw_arr(&w);
    csn_item_user(&w, news);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  csn_run_deliver(b->run, CSN_EV_SANDBOX_LOST, csn_buf_str(&text), false);
}

int
csn_box_open_again(struct csn_box *b, csn_err *err)
{
  const struct csn_box_saved *from;
  if (is_lost(b)) {
    int rc = restore(b, &from, err);
    if (rc == 0)
      csn_box_deliver_loss(b, from, CSN_STR(""));
    return rc;
  }
  csn_err why;
  csn_box_move_in_time(b);
  bool is_elsewhere = csn_box_remote_is_there(b), is_new = !b->sb;
  int rc = b->sb ? 0 : csn_box_open_machine(b, &b->run->scope, &why);
  if (rc == CSN_E_NOT_FOUND && is_elsewhere) { /* its provider has it no more */
    rc = restore(b, &from, err);
    if (rc == 0)
      csn_box_deliver_loss(b, from, CSN_STR(""));
    return rc;
  }
  if (rc == 0 && !is_elsewhere && csn_box_is_remote(b)) /* it was cut off while it moved */
    rc = csn_box_remote_send(b, &b->run->scope, &why);
  else if (rc == 0 && is_new && csn_box_is_remote(b))
    rc = csn_box_mounts_enter(b, &b->run->scope, &why);
  if (rc == 0)
    read_news(b);
  return rc < 0 ? csn_fail(err, (enum csn_code)rc, "%s", why.msg) : 0;
}

int
csn_box_look(struct csn_box *b, struct csn_box_found *found, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&b->lock);
  found->was_lost = is_lost(b);
  if (found->was_lost)
    rc = restore(b, &found->from, err);
  else if ((rc = csn_box_lock_folder(b, err)) == 0)
    read_news(b);
  pthread_mutex_unlock(&b->lock);
  return rc;
}
