/* SPDX-License-Identifier: Apache-2.0
 *
 * measure.c - the wall time and CPU of whole programs, one after the other in
 * each round, so that what the machine does meanwhile hits all of them.
 *
 *   measure CASE ROUNDS SIDE COMMAND ARGS... [--- SIDE COMMAND ARGS...]...
 *
 * Prints samples CASE (wall, ms) and CASE-cpu (ms).  What a command prints is
 * dropped; one that fails ends the measurement.  A first round is not counted.
 */
#include <spawn.h>
#include <sys/wait.h>

#include "bench.h"

static void
once(const char *name, char **argv, bool counts)
{
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  pid_t pid;
  int status = -1;
  double cpu = bench_cpu_us();
  int64_t began = csn_now_ns();
  if (posix_spawnp(&pid, argv[1], &files, NULL, argv + 1, environ) == 0)
    waitpid(pid, &status, 0);
  double wall_ms = bench_ms_since(began);
  posix_spawn_file_actions_destroy(&files);
  if (status != 0) {
    fprintf(stderr, "measure: %s: %s failed with status %d\n", name, argv[1], status);
    exit(1);
  }
  if (!counts)
    return;
  char of_cpu[100];
  snprintf(of_cpu, sizeof of_cpu, "%s-cpu", name);
  bench_sample(name, argv[0], wall_ms);
  bench_sample(of_cpu, argv[0], (bench_cpu_us() - cpu) / 1e3);
}

int
main(int argc, char **argv)
{
  char **sides[16];
  int n = 0;
  if (argc < 5) {
    fprintf(stderr, "usage: measure CASE ROUNDS SIDE COMMAND ARGS... [--- SIDE COMMAND ARGS...]\n");
    return 2;
  }
  int64_t rounds = bench_number(argv[2], 1, 100000);
  sides[n++] = argv + 3;
  for (int i = 3; i < argc; i++)
    if (strcmp(argv[i], "---") == 0) {
      argv[i] = NULL;
      if (i + 2 < argc && n < (int)CSN_COUNT(sides))
        sides[n++] = argv + i + 1;
    }
  for (int64_t r = 0; r <= rounds; r++)
    for (int k = 0; k < n; k++)
      once(argv[1], sides[k], r > 0);
  return 0;
}
