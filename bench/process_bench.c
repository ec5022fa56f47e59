/* SPDX-License-Identifier: Apache-2.0
 *
 * process_bench.c - whole processes, from posix_spawn to the end: the program
 * alone, one command in a jail, and the same by bwrap where it is installed.
 *
 *   process_bench [ROUNDS]     CAISSON names the program
 *
 * All take turns, so that they see the same load.  Minimum and median in
 * microseconds, and each minimum's and median's ratio to bwrap's.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

#include "caisson/mem.h"
#include "caisson/scope.h"

enum { MOST = 2000 };

extern char **environ;

struct row {
  const char *name;
  char *argv[12];
  bool is_absent;
  double us[MOST];
};

static int
by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void
once(struct row *r, int round)
{
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  pid_t pid;
  int status = -1;
  int64_t start = csn_now_ns();
  if (posix_spawnp(&pid, r->argv[0], &files, NULL, r->argv, environ) != 0 ||
      waitpid(pid, &status, 0) < 0 || status != 0)
    r->is_absent = true;
  r->us[round] = (double)(csn_now_ns() - start) / 1e3;
  posix_spawn_file_actions_destroy(&files);
}

int
main(int argc, char **argv)
{
  char *caisson = getenv("CAISSON");
  int64_t rounds = 200;
  if (!caisson || (argc > 1 && !csn_str_int(csn_cstr(argv[1]), &rounds)) || rounds < 1 ||
      rounds > MOST) {
    fprintf(stderr, "usage: CAISSON=PROGRAM process_bench [ROUNDS]\n");
    return 2;
  }
  static struct row rows[] = {
      {"bwrap --unshare-all",
       {"bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
        "true"}},
      {"sandbox run (jail)", {NULL, "sandbox", "run", "--", "true"}},
      {"sandbox run (local)", {NULL, "sandbox", "run", "--backend", "local", "--", "true"}},
      {"version", {NULL, "version"}},
      {"true", {"true"}},
  };
  for (size_t i = 1; i < 4; i++)
    rows[i].argv[0] = caisson;
  for (int round = 0; round < rounds; round++)
    for (size_t i = 0; i < CSN_COUNT(rows); i++)
      if (!rows[i].is_absent)
        once(&rows[i], round);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct row *r = &rows[i], *floor = &rows[0];
    if (r->is_absent) {
      printf("%-22s not here\n", r->name);
      continue;
    }
    qsort(r->us, (size_t)rounds, sizeof *r->us, by_size);
    printf("%-22s min %7.0f us  median %7.0f us", r->name, r->us[0], r->us[rounds / 2]);
    if (!floor->is_absent)
      printf("   %.2f and %.2f of bwrap", r->us[0] / floor->us[0],
             r->us[rounds / 2] / floor->us[rounds / 2]);
    putchar('\n');
  }
  return 0;
}
