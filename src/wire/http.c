/* SPDX-License-Identifier: Apache-2.0
 *
 * http.c - the door to the network module: finds caisson-net.so, opens it at
 * the first request, and passes calls on.
 *
 * The module is code, so where it may come from is narrow: beside this program
 * or library, in libexec/caisson under the same prefix, in the build folder
 * above, or where it was installed; and the file must belong to root, to the
 * owner of this program, or to the user who runs it.  It is loaded through the
 * descriptor that was checked.  No environment variable is asked.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <sys/stat.h>

#include "wire/module_dir.h" /* made by the build: CSN_MODULE_DIR */
#include "wire/net.h"

struct csn_http {
  csn_loop *loop;
  pthread_mutex_t lock; /* guards what is below */
  const csn_net_module *module;
  csn_net *net;
  pthread_cond_t gone_cond;
  bool is_gone;
};

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

/* Tries, in this order, every place for the object that lies in folder `dir`. */
static int
find_module(const char *dir, uid_t owner, char found[PATH_MAX])
{
  static const char *const places[] = {
      "%s/caisson-net.so",
      "%s/src/caisson-net.so", /* the build folder: its programs are there and below */
      "%s/../src/caisson-net.so",
      "%s/../../src/caisson-net.so",
      "%s/../../../src/caisson-net.so",
      "%s/../libexec/caisson/caisson-net.so",
      "%s/../../libexec/caisson/caisson-net.so",
  };
  for (size_t i = 0; i <= CSN_COUNT(places); i++) {
    if (i < CSN_COUNT(places)) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
      int n = snprintf(found, PATH_MAX, places[i], dir);
#pragma GCC diagnostic pop
      if (n >= PATH_MAX)
        continue;
    } else {
      snprintf(found, PATH_MAX, "%s", CSN_MODULE_DIR "/caisson-net.so");
    }
    int fd = open_module(found, owner);
    if (fd >= 0)
      return fd;
  }
  return -1;
}

static int
load_module(const csn_net_module **out, csn_err *err)
{
  Dl_info here;
  struct stat st;
  char real[PATH_MAX], path[PATH_MAX], by_fd[64];
  struct link_map *object;
  if (!dladdr1((void *)(uintptr_t)csn_http_new, &here, (void **)&object, RTLD_DL_LINKMAP))
    return csn_fail(err, CSN_E_IO, "cannot tell where this program lies");
  /* The program itself has no name here, and argv[0] is what its caller says. */
  if (!realpath(*object->l_name ? object->l_name : "/proc/self/exe", real) || stat(real, &st) < 0)
    return csn_fail_errno(err, "cannot tell where this program lies");
  csn_auto(close_fd) int fd = find_module(dirname(real), st.st_uid, path);
  if (fd < 0)
    return csn_fail(err, CSN_E_NOT_FOUND,
                    "the network module caisson-net.so is missing: expected beside the program or "
                    "in %s, owned by root or by the program's owner; install it again",
                    CSN_MODULE_DIR);
  snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
  void *lib = dlopen(by_fd, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!lib)
    lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE); /* no /proc here */
  const csn_net_module *m = lib ? dlsym(lib, "csn_net_entry") : NULL;
  if (!m)
    return csn_fail(err, CSN_E_UNAVAILABLE, "the network module cannot be loaded: %s", dlerror());
  if (m->abi != CSN_NET_ABI || strcmp(m->version, CSN_VERSION) != 0)
    return csn_fail(err, CSN_E_INVALID, "%s is of caisson %s, this is %s; install both again", path,
                    m->version, CSN_VERSION);
  *out = m;
  return 0;
}

csn_http *
csn_http_new(csn_loop *loop)
{
  csn_http *h = csn_alloc(sizeof *h);
  h->loop = loop;
  pthread_mutex_init(&h->lock, NULL);
  csn_cond_init(&h->gone_cond);
  return h;
}

static int
need_module(csn_http *h, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&h->lock);
  if (!h->net) {
    rc = load_module(&h->module, err);
    if (rc == 0)
      h->net = h->module->open(&(csn_net_host){.loop = h->loop,
                                               .loop_uv = csn_loop_uv,
                                               .loop_post = csn_loop_post,
                                               .loop_is_current = csn_loop_is_current});
  }
  pthread_mutex_unlock(&h->lock);
  return rc;
}

static void
warm(void *user)
{
  (void)need_module(user, NULL); /* the first request reports what is wrong */
}

void
csn_http_warm(csn_http *h)
{
  csn_loop_post(h->loop, warm, h);
}

static void
on_gone(void *user)
{
  csn_http *h = user;
  pthread_mutex_lock(&h->lock);
  h->is_gone = true;
  pthread_cond_signal(&h->gone_cond);
  pthread_mutex_unlock(&h->lock);
}

/* Posted after everything else, so also after a csn_http_warm(). */
static void
close_net(void *user)
{
  csn_http *h = user;
  pthread_mutex_lock(&h->lock);
  csn_net *n = h->net;
  pthread_mutex_unlock(&h->lock);
  if (n)
    h->module->close(n, on_gone, h);
  else
    on_gone(h);
}

void
csn_http_free(csn_http *h)
{
  if (!h)
    return;
  csn_loop_post(h->loop, close_net, h);
  pthread_mutex_lock(&h->lock);
  while (!h->is_gone)
    pthread_cond_wait(&h->gone_cond, &h->lock);
  pthread_mutex_unlock(&h->lock);
  pthread_cond_destroy(&h->gone_cond);
  pthread_mutex_destroy(&h->lock);
  free(h);
}

int
csn_http_start(csn_http *h, const csn_http_req *req, const csn_http_sink *sink, void *user,
               csn_http_call **out, csn_err *err)
{
  int rc = need_module(h, err);
  return rc < 0 ? rc : h->module->start(h->net, req, sink, user, out, err);
}

void
csn_http_cancel(csn_http *h, csn_http_call *c)
{
  h->module->cancel(h->net, c);
}
