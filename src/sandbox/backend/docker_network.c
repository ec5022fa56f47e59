/* SPDX-License-Identifier: Apache-2.0
 *
 * docker_network.c - the network of a container: a second one that holds it.
 *
 * It has a network of its own that leads nowhere and one process, ours
 * (sandbox/graft.h), which listens there for the egress process; the sandbox
 * joins that network.  So what takes a capability happens where no byte of the
 * sandbox runs, and the sandbox has none.  Both are on this machine, because a
 * socket of the one is handed to the other. */
#include <stdio.h>

#include "sandbox/backend/docker.h"
#include "sandbox/strings.h"

enum { BODY_MAX = 1 << 20, MEMORY = 64 << 20, PROCESSES = 8 };

int
csn_docker_network_check(const struct csn_docker *d, const csn_sandbox_spec *spec, csn_err *err)
{
  if (!spec->network || d->engine.place.path)
    return 0;
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "%s: a network needs an engine of this machine (unix:///PATH): it is held by "
                  "processes of ours beside the container",
                  d->engine.host);
}

static void
put_text(csn_jw *w, const char *key, const char *text)
{
  csn_jw_key(w, key);
  csn_jw_strz(w, text);
}

static void
put_host(const struct csn_docker *d, const csn_sandbox_spec *spec, csn_jw *w)
{
  static const char *const all[] = {"ALL", NULL}, *const opts[] = {"no-new-privileges", NULL},
                           *const some[] = {"NET_ADMIN", "NET_BIND_SERVICE", NULL},
                           *const dns[] = {"127.0.0.1", NULL};
  csn_jw_key(w, "HostConfig");
  csn_jw_obj(w);
  put_text(w, "NetworkMode", "none");
  put_text(w, "IpcMode", "private");
  csn_jw_key(w, "ReadonlyRootfs");
  csn_jw_bool(w, true);
  csn_strings_to_json(w, "CapDrop", all);
  if (spec->network) {
    csn_strings_to_json(w, "CapAdd", some);
    csn_strings_to_json(w, "Dns", dns);
  }
  csn_strings_to_json(w, "SecurityOpt", opts);
  csn_jw_key(w, "Memory");
  csn_jw_int(w, MEMORY);
  csn_jw_key(w, "PidsLimit");
  csn_jw_int(w, PROCESSES);
  csn_jw_key(w, "LogConfig");
  csn_jw_obj(w);
  put_text(w, "Type", "none");
  csn_jw_end(w);
  csn_jw_key(w, "Mounts");
  csn_jw_arr(w);
  csn_docker_put_folder(w, csn_graft_own(d->graft), CSN_GRAFT_PLACE);
  csn_jw_end(w);
  csn_jw_end(w);
}

static int
make_body(const struct csn_docker *d, const csn_sandbox_spec *spec, csn_buf *out, csn_err *err)
{
  static const char *const none[] = {NULL};
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  put_text(&w, "Image", d->image_id && *d->image_id ? d->image_id : d->image);
  put_text(&w, "User", "0:0");
  put_text(&w, "WorkingDir", "/");
  put_text(&w, "Hostname", "sandbox");
  csn_strings_to_json(&w, "Entrypoint", csn_graft_command);
  csn_strings_to_json(&w, "Cmd", none);
  put_text(&w, "StopSignal", "SIGKILL");
  csn_jw_key(&w, "Labels");
  csn_jw_obj(&w);
  put_text(&w, CSN_DOCKER_LABEL, spec->label ? spec->label : "");
  put_text(&w, CSN_DOCKER_NETWORK_LABEL, d->name);
  csn_jw_end(&w);
  put_host(d, spec, &w);
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

static int
make(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(BODY_MAX);
  char name[200];
  csn_err why;
  snprintf(name, sizeof name, "%s-network", d->name);
  int rc = make_body(d, spec, &body, err);
  if (rc < 0)
    return rc;
  rc = csn_docker_make(d, sc, name, csn_buf_str(&body), d->network_id, NULL, &why);
  if (rc == CSN_E_CONFLICT) { /* left by a process that died */
    rc = csn_docker_remove(d, sc, name, &why);
    if (rc == 0)
      rc = csn_docker_make(d, sc, name, csn_buf_str(&body), d->network_id, NULL, &why);
  }
  if (rc < 0 && strstr(why.msg, "bind source path does not exist"))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "%s does not see this machine's folder %s, so it is another's: a network needs "
                    "an engine of this machine",
                    d->engine.host, csn_graft_own(d->graft));
  return rc < 0 ? csn_fail(err, why.code, "%s", why.msg) : 0;
}

/* The one that a process before us made. */
static int
find(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v = NULL;
  csn_str id = csn_json_str(spec->state, "network", (csn_str){0});
  char its[CSN_DOCKER_ID + 1];
  int rc = csn_docker_take_id(its, id, err);
  if (rc == 0)
    rc = csn_docker_ask(d, sc, "GET", its, "/json", a, &v, err);
  if (rc < 0)
    return csn_wrap(err, rc, "the container that holds the network");
  csn_str of = csn_json_str(csn_json_get(csn_json_get(v, "Config"), "Labels"),
                            CSN_DOCKER_NETWORK_LABEL, (csn_str){0});
  if (!csn_str_eq(of, csn_cstr(d->name)))
    return csn_fail(err, CSN_E_CONFLICT, "container %.12s is not what was made for this", its);
  memcpy(d->network_id, its, sizeof its);
  rc = csn_docker_ask(d, sc, "POST", its, "/stop?t=0", NULL, NULL, err);
  return rc < 0 ? rc : 0;
}

/* The container's own variables say what was true when it was made; these are
 * new each time, and what was asked for still counts more. */
static void
keep_variables(struct csn_docker *d, const csn_sandbox_spec *spec)
{
  const char *const *lists[] = {d->variables, csn_graft_variables(d->graft), spec->environment};
  size_t room = 1, n = 0;
  for (size_t i = 0; i < CSN_COUNT(lists); i++)
    room += csn_strings_count(lists[i]);
  const char **list = csn_arena_alloc(d->arena, room * sizeof *list);
  for (size_t i = 0; i < CSN_COUNT(lists); i++)
    n = csn_variables_put(list, n, lists[i]);
  for (size_t i = 0; i < n; i++)
    list[i] = csn_arena_dup(d->arena, csn_cstr(list[i])).p;
  list[n] = NULL;
  d->variables = list;
}

int
csn_docker_network_open(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec,
                        csn_err *err)
{
  char path[120];
  /* Ports alone can do without, by commands in the sandbox. */
  bool is_wanted = spec->network || (spec->n_expose && d->engine.place.path);
  if (!is_wanted || (!spec->network && spec->state && !csn_json_get(spec->state, "network")))
    return 0;
  int rc = csn_graft_open(&d->graft, d->name, spec->network, err);
  if (rc == 0)
    rc = spec->state ? find(d, sc, spec, err) : make(d, sc, spec, err);
  if (rc == CSN_E_UNSUPPORTED && !spec->network) {
    csn_graft_close(csn_steal(d->graft));
    csn_graft_remove(d->name);
    return 0;
  }
  if (rc < 0)
    return rc;
  d->has_policy = spec->network != NULL;
  keep_variables(d, spec);
  snprintf(path, sizeof path, "/containers/%s/attach?stream=1&stdout=1&stderr=1", d->network_id);
  rc = csn_engine_hijack(&d->engine, sc, path, (csn_str){0}, &d->network_life, err);
  if (rc == 0)
    rc = csn_docker_ask(d, sc, "POST", d->network_id, "/start", NULL, NULL, err);
  if (rc >= 0)
    rc = csn_graft_join(d->graft, sc, csn_link_fd(d->network_life), err);
  return csn_wrap(err, rc, "start the container that holds the network");
}

void
csn_docker_network_close(struct csn_docker *d, csn_scope *sc, bool is_gone)
{
  csn_graft_close(csn_steal(d->graft)); /* which ends its process */
  csn_link_close(csn_steal(d->network_life));
  if (is_gone && d->network_id[0]) {
    (void)!csn_docker_remove(d, sc, d->network_id, NULL);
    csn_graft_remove(d->name);
  } else if (d->network_id[0]) { /* it ends by itself, a little later */
    (void)!csn_docker_ask(d, sc, "POST", d->network_id, "/stop?t=0", NULL, NULL, NULL);
  }
}
