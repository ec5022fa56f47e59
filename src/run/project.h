/* SPDX-License-Identifier: Apache-2.0
 *
 * project.h - caisson.yaml and the environment: which providers there are and
 * how a model's name leads to one.
 *
 * A model's name is PREFIX/NAME (or PREFIX:NAME).  Prefixes: openai and
 * responses (Responses API), chat (Chat Completions) at OPENAI_BASE_URL with
 * OPENAI_API_KEY; anthropic at ANTHROPIC_BASE_URL with ANTHROPIC_API_KEY;
 * gemini at GEMINI_BASE_URL with GEMINI_API_KEY; azure (Responses API) at
 * AZURE_OPENAI_ENDPOINT with AZURE_OPENAI_API_KEY; script and replay (a file);
 * and every provider of caisson.yaml.  NAME is passed on as it is.
 */
#ifndef CSN_RUN_PROJECT_H
#define CSN_RUN_PROJECT_H

#include "caisson/model.h"
#include "run/gate.h"
#include "wire/http.h"
#include "wire/sigv4.h"

#include <sys/types.h>

struct csn_project;
struct csn_vault;

/* The nearest caisson.yaml upward from the current folder, if any. */
int csn_project_load(struct csn_project **out, csn_err *err) CSN_MUST;
void csn_project_free(struct csn_project *p);
static inline void
csn_project_freep(struct csn_project **p)
{
  csn_project_free(*p);
}
/* Its path, or NULL. */
const char *csn_project_file(const struct csn_project *p);
/* A line for each provider: where requests go and with which key. */
void csn_project_list(const struct csn_project *p, csn_buf *out);
/* From now on the file, as it is, may send requests to other machines. */
int csn_project_trust(const struct csn_project *p, csn_err *err) CSN_MUST;
/* The model of caisson.yaml or of CAISSON_MODEL, or NULL. */
const char *csn_project_model(const struct csn_project *p);
/* The same model wherever it is read again: script and replay name files, and
 * a relative name starts from `folder`. */
const char *csn_model_beside(csn_arena *a, const char *model, const char *folder);

/* The file that is in use is the harness's: no sandbox gets a copy.  Zeroes
 * when there is none. */
void csn_project_file_id(const struct csn_project *p, dev_t *dev, ino_t *ino);

/* *url: the database that `state` names, or NULL.  CSN_E_INVALID: it is on
 * another machine and nobody has trusted the file. */
int csn_project_state(const struct csn_project *p, const char **url, csn_err *err) CSN_MUST;

/* What `session` says; the texts live as long as p. */
struct csn_project_sessions {
  const char *store, *keys_file; /* or NULL */
  const char *const *keys_command;
};
/* CSN_E_INVALID: it leads to another machine or starts a command, and nobody
 * has trusted the file. */
int csn_project_sessions(const struct csn_project *p, struct csn_project_sessions *out,
                         csn_err *err) CSN_MUST;

/* The keys that `snapshots` names, read when they are first wanted; NULL without
 * any.  p owns them.  CSN_E_INVALID: as above. */
int csn_project_vault(struct csn_project *p, struct csn_vault **out, csn_err *err) CSN_MUST;

/* `prices` of caisson.yaml, checked; or NULL. */
const csn_json *csn_project_prices(const struct csn_project *p);
/* `windows`, likewise. */
const csn_json *csn_project_windows(const struct csn_project *p);

/* The list of models of that name; NULL: none. */
const csn_json *csn_project_models(const struct csn_project *p, csn_str name);
/* The object `providers`, checked; or NULL. */
const csn_json *csn_project_providers(const struct csn_project *p);
/* The object `stores`, checked; or NULL.  See run/stores.h. */
const csn_json *csn_project_stores(const struct csn_project *p);
/* Whether that one of them may be used. */
bool csn_project_may_store(const struct csn_project *p, const csn_json *store);
/* A path as the file means it: from its folder, or from the user's. */
const char *csn_project_path(const struct csn_project *p, csn_arena *a, csn_str path);
/* Whether requests may go where that one of them says. */
bool csn_project_may_use(const struct csn_project *p, const csn_json *provider);
/* Where its relative names start; "." without a file. */
const char *csn_project_folder(const struct csn_project *p, csn_arena *a);

/* ---- route.c ---- */

struct csn_route {
  const csn_model_ops *ops;
  csn_endpoint endpoint;
  csn_str model;    /* what follows the prefix */
  csn_str provider; /* whose limits hold; empty: no server */
  csn_gate_limits limits;
  csn_str key_header;   /* that carries the key as it is; empty: "Authorization: Bearer KEY" */
  csn_str api_version;  /* of the query; empty: none */
  bool has_deployments; /* the model's name is a part of the path */
  bool by_socket;       /* over a WebSocket, when the reply is streamed */
  bool compacts;        /* the server sums a long conversation up by itself */
  int64_t timeout_ms;   /* of one attempt; 0: none */
  csn_aws_keys aws;     /* requests are signed with them when there is an id */
  csn_str region;       /* of AWS */
  csn_arena *arena;     /* owns the texts */
};

/* CSN_E_INVALID with the next step: unknown prefix, missing key. */
int csn_route_find(const struct csn_project *p, csn_str name, struct csn_route *out,
                   csn_err *err) CSN_MUST;
void csn_route_fini(struct csn_route *r);
/* A server may quote the key in what it says: takes it out of the message. */
void csn_route_hide_key(const struct csn_route *r, csn_err *err);
/* What stands before the first / or : of a model's name. */
csn_str csn_model_prefix(csn_str name);
/* A service that needs no address in caisson.yaml. */
bool csn_service_is_known(csn_str name);
/* The address of a call, whose path is the codec's, with `extra_query` of the
 * agent's settings. */
int csn_route_url(const struct csn_route *r, const csn_json *settings, csn_str path, csn_buf *url,
                  csn_err *err) CSN_MUST;
/* Fills in the headers of a request; those of the settings replace ours. */
void csn_route_headers(const struct csn_route *r, csn_arena *a, const csn_model_request *rq,
                       csn_http_req *req);
/* The last header: a signature over the request, of now_s (Unix time), where the
 * provider wants one. */
int csn_route_sign(const struct csn_route *r, csn_arena *a, int64_t now_s, csn_http_req *req,
                   csn_err *err) CSN_MUST;
/* The decoder for a response with this head. */
csn_decoder *csn_route_decoder(const struct csn_route *r, csn_arena *a, int status,
                               const csn_header *headers, size_t n, const csn_model_request *rq,
                               csn_delta_fn *fn, void *user);

#endif
