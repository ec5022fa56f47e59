/* SPDX-License-Identifier: Apache-2.0
 * image_tool.c - the one program of the images that tests make; static.
 *   cat FILE | ls DIR | stat FILE | env NAME | write FILE | id | suid FILE */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
by_name(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
list(const char *path)
{
  char *names[1000];
  size_t n = 0;
  DIR *d = opendir(path);
  for (struct dirent *e; d && n < 1000 && (e = readdir(d));)
    if (e->d_name[0] != '.')
      names[n++] = strdup(e->d_name);
  qsort(names, n, sizeof *names, by_name);
  for (size_t i = 0; i < n; i++)
    printf("%s%s", i ? " " : "", names[i]);
  return d ? 0 : errno;
}

static int
cat(const char *path)
{
  char text[4096];
  int fd = open(path, O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
  if (n < 0)
    return errno;
  fwrite(text, 1, (size_t)n, stdout);
  return 0;
}

static void
who(void)
{
  gid_t groups[64];
  int n = getgroups(64, groups);
  printf("%u:%u", geteuid(), getegid());
  for (int i = 0; i < n; i++)
    printf(",%u", groups[i]);
}

/* The exit status is errno. */
int
main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "id", *arg = argc > 2 ? argv[2] : "";
  struct stat st;
  int rc = 0;
  if (strcmp(what, "cat") == 0) {
    rc = cat(arg);
  } else if (strcmp(what, "ls") == 0) {
    rc = list(arg);
  } else if (strcmp(what, "env") == 0) {
    printf("%s", getenv(arg) ? getenv(arg) : "(none)");
  } else if (strcmp(what, "write") == 0) {
    int fd = open(arg, O_WRONLY | O_CREAT, 0666);
    rc = fd < 0 || write(fd, "x", 1) != 1 ? errno : 0;
  } else if (strcmp(what, "stat") == 0) {
    rc = lstat(arg, &st) < 0 ? errno : 0;
    if (rc == 0)
      printf("%o %u:%u", st.st_mode & 07777, st.st_uid, st.st_gid);
  } else {
    who();
  }
  if (rc)
    printf("%s", strerror(rc));
  return rc;
}
