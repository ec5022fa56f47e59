/* SPDX-License-Identifier: Apache-2.0
 *
 * files_bench.c - a manifest's inline files made real, and one patch of many
 * files, beside a loop that opens, writes and closes the same files.
 *
 *   files_bench FOLDER NAME N     (samples files-N-NAME, patch-N-NAME: ms)
 *
 * Files of 4,000 bytes, a hundred to a folder.
 */
#include <sys/stat.h>

#include "bench.h"
#include "caisson/manifest.h"
#include "caisson/patch.h"

enum { FILE_BYTES = 4000, PER_FOLDER = 100, LINE_BYTES = 40 };

static char content[FILE_BYTES + 1];

/* Lines that differ, so that a hunk has one place only. */
static void
fill_content(void)
{
  for (int i = 0; i < FILE_BYTES / LINE_BYTES; i++) {
    snprintf(content + i * LINE_BYTES, LINE_BYTES + 1, "line %03d ........................ text",
             i);
    memset(content + i * LINE_BYTES + 37, '.', 2);
    content[i * LINE_BYTES + LINE_BYTES - 1] = '\n';
  }
  for (int i = 0; i < FILE_BYTES; i++)
    if (!content[i])
      content[i] = '.';
  content[FILE_BYTES] = '\0';
}

static int
open_folder(const char *path)
{
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void
sample(const char *what, int64_t n, const char *name, const char *side, int64_t began_ns)
{
  double ms = bench_ms_since(began_ns);
  char text[100];
  snprintf(text, sizeof text, "%s-%lld-%s", what, (long long)n, name);
  bench_sample(text, side, ms);
}

static void
write_floor(const char *base, const char *name, int64_t n)
{
  char *folder = bench_folder(base);
  csn_auto(csn_closep) int dir = open_folder(folder);
  int64_t began = csn_now_ns();
  for (int64_t i = 0; i < n; i++) {
    char path[64];
    snprintf(path, sizeof path, "d%lld", (long long)(i / PER_FOLDER));
    if (i % PER_FOLDER == 0 && mkdirat(dir, path, 0755) < 0)
      exit(1);
    snprintf(path, sizeof path, "d%lld/f%lld.txt", (long long)(i / PER_FOLDER), (long long)i);
    csn_auto(csn_closep) int fd = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, content, FILE_BYTES) != FILE_BYTES)
      exit(1);
  }
  sample("files", n, name, "floor", began);
  bench_folder_drop(folder);
}

static void
write_entries(csn_jw *w, int64_t n)
{
  csn_jw_obj(w);
  csn_jw_key(w, "entries");
  csn_jw_obj(w);
  for (int64_t i = 0; i < n; i++) {
    char path[64];
    snprintf(path, sizeof path, "d%lld/f%lld.txt", (long long)(i / PER_FOLDER), (long long)i);
    csn_jw_key(w, path);
    csn_jw_obj(w);
    csn_jw_key(w, "type");
    csn_jw_strz(w, "file");
    csn_jw_key(w, "content");
    csn_jw_str(w, csn_strn(content, FILE_BYTES));
    csn_jw_end(w);
  }
  csn_jw_end(w);
  csn_jw_end(w);
}

/* From the text of the manifest to files: parsing is part of it. */
static void
materialize(const char *folder, const char *name, int64_t n)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)1 << 30);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_jw w;
  csn_jw_init(&w, &text);
  write_entries(&w, n);
  bench_must(csn_jw_done(&w, &err), &err);
  csn_auto(csn_closep) int dir = open_folder(folder);
  const csn_json *v;
  csn_manifest *m;
  int64_t began = csn_now_ns();
  bench_must(csn_json_parse(a, csn_buf_str(&text), &v, &err), &err);
  bench_must(csn_manifest_from_json(a, v, &m, &err), &err);
  bench_must(csn_manifest_apply(
                 m, NULL,
                 &(csn_materialize){
                     .workspace_fd = dir, .base_fd = -1, .source_fd = dir, .uid = -1, .gid = -1},
                 &err),
             &err);
  sample("files", n, name, "ours", began);
}

/* One changed line in every file, by one patch. */
static void
patch_all(const char *folder, const char *name, int64_t n)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)1 << 30);
  csn_buf_addz(&text, "*** Begin Patch\n");
  for (int64_t i = 0; i < n; i++) {
    csn_buf_addf(&text, "*** Update File: d%lld/f%lld.txt\n@@\n", (long long)(i / PER_FOLDER),
                 (long long)i);
    csn_buf_addf(&text, " %.*s", LINE_BYTES, content + (size_t)49 * LINE_BYTES);
    csn_buf_addf(&text, "-%.*s+changed\n", LINE_BYTES, content + (size_t)50 * LINE_BYTES);
    csn_buf_addf(&text, " %.*s", LINE_BYTES, content + (size_t)51 * LINE_BYTES);
  }
  csn_buf_addz(&text, "*** End Patch\n");
  csn_auto(csn_closep) int dir = open_folder(folder);
  csn_auto(csn_patch_freep) csn_patch *p = NULL;
  csn_auto(csn_buf_finip) csn_buf plan = CSN_BUF((size_t)1 << 30);
  csn_jw w;
  int64_t began = csn_now_ns();
  bench_must(csn_patch_parse(&p, csn_buf_str(&text), &err), &err);
  bench_must(csn_patch_plan(p, dir, "/workspace", NULL, &err), &err);
  csn_jw_init(&w, &plan); /* the intent of the journal */
  csn_patch_to_json(p, &w);
  bench_must(csn_patch_stage(p, -1, -1, &err), &err);
  bench_must(csn_patch_commit(p, NULL, NULL, &err), &err);
  sample("patch", n, name, "ours", began);
}

int
main(int argc, char **argv)
{
  if (argc != 4) {
    fprintf(stderr, "usage: files_bench FOLDER NAME N\n");
    return 2;
  }
  int64_t n = bench_number(argv[3], 1, 1000000);
  fill_content();
  write_floor(argv[1], argv[2], n);
  char *folder = bench_folder(argv[1]);
  materialize(folder, argv[2], n);
  if (n <= 2000)
    patch_all(folder, argv[2], n);
  bench_folder_drop(folder);
  return 0;
}
