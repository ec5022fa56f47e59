/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.h - what the programs of bench/ share: clocks, memory, a scratch
 * folder, and the line in which a measurement is handed to tools/bench:
 *
 *   sample CASE SIDE VALUE      SIDE: ours, floor, or the name of a peer
 */
#ifndef BENCH_H
#define BENCH_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

#include "caisson/scope.h"
#include "core/fd.h"

static inline void
bench_must(int rc, const csn_err *err)
{
  if (rc >= 0)
    return;
  fprintf(stderr, "bench: %s\n", err->msg);
  exit(1);
}

static inline void
bench_sample(const char *name, const char *side, double value)
{
  printf("sample %s %s %.6g\n", name, side, value);
  fflush(stdout);
}

/* User and system time of all threads, and of children that were waited for. */
static inline double
bench_cpu_us(void)
{
  double us = 0;
  for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
    struct rusage u;
    getrusage(who, &u);
    us += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
          (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
  }
  return us;
}

static inline double
bench_ms_since(int64_t began_ns)
{
  return (double)(csn_now_ns() - began_ns) / 1e6;
}

/* A number of /proc/self/status in KiB: "VmRSS:" now, "VmHWM:" at most. */
static inline int64_t
bench_memory_kib(const char *field)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(65536);
  csn_auto(csn_closep) int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  csn_err err;
  int64_t kib = 0;
  if (fd < 0)
    return 0;
  bench_must(csn_fd_read_all(fd, &b, &err), &err);
  csn_str rest = csn_buf_str(&b), line;
  while (csn_str_line(&rest, &line))
    if (csn_str_starts(line, csn_cstr(field))) {
      csn_str n = csn_str_trim(csn_strn(line.p + strlen(field), line.n - strlen(field)));
      n.n = n.n > 3 ? n.n - 3 : 0; /* " kB" */
      (void)csn_str_int(n, &kib);
    }
  return kib;
}

/* From here on VmHWM is that of what comes. */
static inline void
bench_forget_peak(void)
{
  csn_auto(csn_closep) int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "5", 1) != 1)
    fprintf(stderr, "bench: the peak of memory cannot be reset here\n");
}

static inline int64_t
bench_number(const char *arg, int64_t from, int64_t to)
{
  int64_t n;
  if (csn_str_int(csn_cstr(arg), &n) && n >= from && n <= to)
    return n;
  fprintf(stderr, "bench: '%s': expected a number from %lld to %lld\n", arg, (long long)from,
          (long long)to);
  exit(2);
}

/* A new folder in `base`; its path is the caller's to free. */
static inline char *
bench_folder(const char *base)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_buf_addf(&b, "%s/caisson-bench-XXXXXX", base);
  char *path = csn_dupz(csn_buf_str(&b));
  if (mkdtemp(path))
    return path;
  fprintf(stderr, "bench: cannot make a folder in %s\n", base);
  exit(1);
}

static inline void
bench_folder_drop(char *path)
{
  csn_err err;
  char *slash = strrchr(path, '/');
  *slash = '\0';
  csn_auto(csn_closep) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bench_must(csn_remove_tree(dir, slash + 1, &err), &err);
  free(path);
}

/* One of many files, a hundred in a folder.  Content that packs to a half or so, and differs from
 * file to file. */
static inline void
bench_fill(int folder, int64_t i, int64_t bytes, uint32_t seed)
{
  csn_err err;
  char path[64];
  csn_auto(csn_freep) char *text = csn_alloc((size_t)bytes);
  uint32_t x = (uint32_t)i * 2654435761u + seed;
  for (int64_t k = 0; k < bytes; k++) {
    x = x * 1664525 + 1013904223;
    text[k] = (char)('a' + (x >> 24) % 20);
  }
  snprintf(path, sizeof path, "d%lld", (long long)(i / 100));
  bench_must(csn_mkdirs(folder, path, 0755, &err), &err);
  snprintf(path, sizeof path, "d%lld/f%lld", (long long)(i / 100), (long long)i);
  bench_must(csn_file_write(folder, path, csn_strn(text, (size_t)bytes), 0644, false, &err), &err);
}

#endif
