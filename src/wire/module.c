/* SPDX-License-Identifier: Apache-2.0
 *
 * module.c - finds and opens a part of caisson; see wire/module.h.
 *
 * A module is code, so where it may come from is narrow: beside this program
 * or library, in libexec/caisson under the same prefix, in the build folder
 * above, or where it was installed; and the file must belong to root, to the
 * owner of this program, or to the user who runs it.  It is loaded through the
 * descriptor that was checked.  No environment variable is asked.
 */
#include "wire/module.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <sys/stat.h>

#include "wire/module_dir.h" /* made by the build: CSN_MODULE_DIR */

static void
close_fd(int *fd)
{
  csn_closep(fd);
}

/* An open descriptor of a file that may be loaded, or -1. */
static int
open_module(const char *path, uid_t program_owner)
{
  csn_auto(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & S_IWOTH))
    return -1;
  if (st.st_uid != 0 && st.st_uid != program_owner && st.st_uid != geteuid())
    return -1;
  int own = fd;
  fd = -1;
  return own;
}

/* The places, seen from the folder of this object.  In the build folder our
 * programs are at the top and in folders below. */
static const struct {
  const char *way;
  bool in_build; /* the file is in its own folder there */
} places[] = {
    {"", false},
    {"/", true},
    {"/../", true},
    {"/../../", true},
    {"/../../../", true},
    {"/../libexec/caisson", false},
    {"/../../libexec/caisson", false},
};

/* Tries, in this order, every place for the object that lies in folder `dir`. */
static int
find_file(const char *dir, const char *file, const char *folder, uid_t owner, char found[PATH_MAX])
{
  for (size_t i = 0; i < CSN_COUNT(places); i++) {
    int n = snprintf(found, PATH_MAX, "%s%s%s/%s", dir, places[i].way,
                     places[i].in_build ? folder : "", file);
    int fd = n < PATH_MAX ? open_module(found, owner) : -1;
    if (fd >= 0)
      return fd;
  }
  snprintf(found, PATH_MAX, "%s/%s", CSN_MODULE_DIR, file);
  return open_module(found, owner);
}

int
csn_module_find(const char *file, const char *folder, char path[PATH_MAX], csn_err *err)
{
  Dl_info here;
  struct stat st;
  char real[PATH_MAX];
  struct link_map *object;
  if (!dladdr1((void *)(uintptr_t)csn_module_find, &here, (void **)&object, RTLD_DL_LINKMAP))
    return csn_fail(err, CSN_E_IO, "cannot tell where this program lies");
  /* The program itself has no name here, and argv[0] is what its caller says. */
  if (!realpath(*object->l_name ? object->l_name : "/proc/self/exe", real) || stat(real, &st) < 0)
    return csn_fail_errno(err, "cannot tell where this program lies");
  int fd = find_file(dirname(real), file, folder, st.st_uid, path);
  if (fd < 0)
    return csn_fail(err, CSN_E_NOT_FOUND,
                    "%s is missing: expected beside the program or in %s, owned by root or by the "
                    "program's owner; install it again",
                    file, CSN_MODULE_DIR);
  return fd;
}

/* The linker knows what it has loaded by name, and the number of a descriptor
 * comes again: then it gives another module, and the same file is asked for by
 * a name of one more slash. */
static const csn_module *
load(int fd, const char *entry)
{
  static const char slashes[] = "////////";
  for (int i = 0; i < (int)sizeof slashes; i++) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%.*s%d", i, slashes, fd);
    void *lib = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!lib)
      return NULL;
    const csn_module *m = dlsym(lib, entry);
    if (m)
      return m;
  }
  return NULL;
}

int
csn_module_open(const char *file, const char *entry, int abi, const csn_module **out, csn_err *err)
{
  char path[PATH_MAX];
  csn_auto(close_fd) int fd = csn_module_find(file, "src", path, err);
  if (fd < 0)
    return fd;
  const csn_module *m = load(fd, entry);
  if (!m) { /* no /proc here */
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    m = lib ? dlsym(lib, entry) : NULL;
  }
  if (!m)
    return csn_fail(err, CSN_E_UNAVAILABLE, "the module %s cannot be loaded: %s", file, dlerror());
  if (m->abi != abi || strcmp(m->version, CSN_VERSION) != 0)
    return csn_fail(err, CSN_E_INVALID, "%s is of caisson %s, this is %s; install both again", path,
                    m->version, CSN_VERSION);
  *out = m;
  return 0;
}
