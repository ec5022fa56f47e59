/* SPDX-License-Identifier: Apache-2.0
 *
 * cgroup_sweep.c - what a spawner's folder is called, and removing those whose
 * spawner was killed before it could.
 *
 * "caisson.NAMESPACE.PID.START": a process id means something only in its
 * process namespace, and an id is given again, but not with the same start
 * time.  A folder from another namespace is left alone: its spawner may live.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jail/cgroup.h"
#include "jail/text.h"

#define PREFIX "caisson."

/* When a process started, in the kernel's ticks; 0: there is none. */
static uint64_t
start_time(uint64_t pid)
{
  char path[64], text[1024];
  size_t n = text_add(path, sizeof path, 0, "/proc/");
  n = text_number(path, sizeof path, n, pid);
  text_add(path, sizeof path, n, "/stat");
  if (!csn_cgroup_read(AT_FDCWD, path, text, sizeof text))
    return 0;
  const char *at = strrchr(text, ')'); /* the name before it may hold anything */
  for (int field = 2; at && field < 22; field++) {
    at = strchr(at + 1, ' ');
  }
  if (!at)
    return 0;
  at++;
  return text_take(&at);
}

static uint64_t
process_namespace(void)
{
  struct stat st;
  return stat("/proc/self/ns/pid", &st) < 0 ? 0 : (uint64_t)st.st_ino;
}

void
csn_cgroups_own_name(char name[CSN_CGROUP_NAME])
{
  size_t n = text_add(name, CSN_CGROUP_NAME, 0, PREFIX);
  n = text_number(name, CSN_CGROUP_NAME, n, process_namespace());
  n = text_add(name, CSN_CGROUP_NAME, n, ".");
  n = text_number(name, CSN_CGROUP_NAME, n, (uint64_t)getpid());
  n = text_add(name, CSN_CGROUP_NAME, n, ".");
  text_number(name, CSN_CGROUP_NAME, n, start_time((uint64_t)getpid()));
}

/* Whether the name is a spawner's of our process namespace that has ended. */
static bool
is_left_behind(const char *name)
{
  const size_t head = sizeof PREFIX - 1;
  if (strncmp(name, PREFIX, head) != 0)
    return false;
  const char *at = name + head;
  uint64_t space = text_take(&at);
  if (*at++ != '.' || space == 0 || space != process_namespace())
    return false;
  uint64_t pid = text_take(&at);
  if (*at++ != '.' || pid == 0)
    return false;
  uint64_t start = text_take(&at);
  return *at == '\0' && start != 0 && start_time(pid) != start;
}

bool
csn_cgroup_remove(int parent, const char *name)
{
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT;
  csn_cgroup_write(fd, "cgroup.kill", "1"); /* version 2, and only what was left */
  DIR *folder = fdopendir(fd);
  if (!folder) {
    close(fd);
    return false;
  }
  for (struct dirent *d; (d = readdir(folder));)
    if (d->d_type == DT_DIR && d->d_name[0] == 'j')
      unlinkat(fd, d->d_name, AT_REMOVEDIR);
  closedir(folder);
  return unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

void
csn_cgroups_sweep(const struct csn_cgroups *g, int parent)
{
  int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *folder = fd < 0 ? NULL : fdopendir(fd);
  if (!folder)
    return;
  for (struct dirent *d; (d = readdir(folder));)
    if (d->d_type == DT_DIR && strcmp(d->d_name, g->name) != 0 && is_left_behind(d->d_name))
      csn_cgroup_remove(parent, d->d_name);
  closedir(folder);
}
