/* SPDX-License-Identifier: Apache-2.0
 *
 * start_bench.c - how long `caisson run` takes from its start to its first
 * request: this program is the model's server, so one clock sees both.
 *
 *   start_bench ROUNDS CAISSON [FOLDER]    (the journal is in FOLDER: /dev/shm)
 *
 * The first round is not counted: it makes the state folder.
 */
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "bench.h"

enum { WAIT_MS = 10000 };

static const char reply[] =
    "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"output\":[{\"type\":"
    "\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{"
    "\"type\":\"output_text\",\"text\":\"Hello.\",\"annotations\":[]}]}],\"usage\":{"
    "\"input_tokens\":1,\"output_tokens\":1,\"total_tokens\":2}}";

static void
die(const char *what)
{
  perror(what);
  exit(1);
}

static int
listen_here(uint16_t *port)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t n = sizeof at;
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 8) < 0 ||
      getsockname(fd, (struct sockaddr *)&at, &n) < 0)
    die("start_bench: socket");
  *port = ntohs(at.sin_port);
  return fd;
}

/* Takes one request whole, answers it; returns when its first byte was here. */
static int64_t
serve(int listener)
{
  struct pollfd comes = {.fd = listener, .events = POLLIN};
  int fd = poll(&comes, 1, WAIT_MS) > 0 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
  if (fd < 0) {
    fprintf(stderr, "start_bench: no request came\n");
    exit(1);
  }
  int64_t came_ns = 0;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  size_t body = SIZE_MAX, want = 0;
  while (body == SIZE_MAX || b.n < body + want) {
    char *room = csn_buf_room(&b, 65536);
    ssize_t n = room ? read(fd, room, 65536) : 0;
    if (n <= 0)
      die("start_bench: the request ended early");
    came_ns = came_ns ? came_ns : csn_now_ns();
    b.n += (size_t)n;
    b.p[b.n] = '\0';
    if (body == SIZE_MAX && (body = csn_str_find(csn_buf_str(&b), CSN_STR("\r\n\r\n"), 0)) < b.n) {
      body += 4;
      const char *length = strcasestr(b.p, "\r\ncontent-length: ");
      size_t digits = length ? strspn(length + 18, "0123456789") : 0;
      int64_t value = 0;
      if (digits)
        (void)csn_str_int(csn_strn(length + 18, digits), &value);
      want = (size_t)value;
    }
  }
  csn_buf_clear(&b);
  csn_buf_addf(&b,
               "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
               "Connection: close\r\n\r\n%s",
               sizeof reply - 1, reply);
  csn_err err;
  bench_must(csn_fd_write_all(fd, csn_buf_str(&b), &err), &err);
  close(fd);
  return came_ns;
}

static void
once(const char *program, const char *state, int listener, bool counts)
{
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
  csn_auto(csn_buf_finip) csn_buf file = CSN_BUF(4096);
  csn_buf_addf(&file, "%s/hello.yaml", state);
  const char *argv[] = {program, "--state", state, "run", file.p, "Say hello.", NULL};
  pid_t pid;
  double cpu = bench_cpu_us();
  int64_t began = csn_now_ns();
  if (posix_spawn(&pid, program, &files, NULL, (char **)(uintptr_t)argv, environ) != 0)
    die("start_bench: the program does not start");
  double request_ms = (double)(serve(listener) - began) / 1e6;
  int status;
  waitpid(pid, &status, 0);
  if (status != 0) {
    fprintf(stderr, "start_bench: %s run failed with status %d\n", program, status);
    exit(1);
  }
  if (counts) {
    bench_sample("start-request", "ours", request_ms);
    bench_sample("start-whole", "ours", bench_ms_since(began));
    bench_sample("start-cpu", "ours", (bench_cpu_us() - cpu) / 1e3);
  }
  posix_spawn_file_actions_destroy(&files);
}

int
main(int argc, char **argv)
{
  if (argc < 3) {
    fprintf(stderr, "usage: start_bench ROUNDS CAISSON [FOLDER]\n");
    return 2;
  }
  int64_t rounds = bench_number(argv[1], 1, 10000);
  uint16_t port;
  int listener = listen_here(&port);
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:%u/v1", port);
  setenv("OPENAI_BASE_URL", url, 1);
  setenv("OPENAI_API_KEY", "none", 1);
  signal(SIGPIPE, SIG_IGN);
  char *state = bench_folder(argc > 3 ? argv[3] : "/dev/shm");
  csn_err err;
  csn_auto(csn_closep) int dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bench_must(csn_file_write(dir, "hello.yaml",
                            CSN_STR("name: hello\nmodel: openai/echo\n"
                                    "instructions: Say hello.\ncapabilities: []\n"),
                            0600, false, &err),
             &err);
  for (int64_t i = 0; i <= rounds; i++)
    once(argv[2], state, listener, i > 0);
  bench_folder_drop(state);
  close(listener);
  return 0;
}
