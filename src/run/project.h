/* SPDX-License-Identifier: Apache-2.0
 *
 * project.h - caisson.yaml and the environment: which providers there are and
 * how a model's name leads to one.
 *
 * A model's name is PREFIX/NAME (or PREFIX:NAME).  Prefixes: openai and
 * responses (Responses API), chat (Chat Completions) at OPENAI_BASE_URL with
 * OPENAI_API_KEY; anthropic at ANTHROPIC_BASE_URL with ANTHROPIC_API_KEY;
 * gemini at GEMINI_BASE_URL with GEMINI_API_KEY; script and replay (a file);
 * and every provider of caisson.yaml.  NAME is passed on as it is.
 */
#ifndef CSN_RUN_PROJECT_H
#define CSN_RUN_PROJECT_H

#include "caisson/model.h"
#include "wire/http.h"

#include <sys/types.h>

struct csn_project;

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

/* `prices` of caisson.yaml, checked; or NULL. */
const csn_json *csn_project_prices(const struct csn_project *p);

struct csn_route {
  const csn_model_ops *ops;
  csn_endpoint endpoint;
  csn_str model;      /* what follows the prefix */
  int64_t timeout_ms; /* of one attempt; 0: none */
  csn_arena *arena;   /* owns the texts */
};

/* CSN_E_INVALID with the next step: unknown prefix, missing key. */
int csn_route_find(const struct csn_project *p, csn_str name, struct csn_route *out,
                   csn_err *err) CSN_MUST;
void csn_route_fini(struct csn_route *r);
/* A server may quote the key in what it says: takes it out of the message. */
void csn_route_hide_key(const struct csn_route *r, csn_err *err);
/* Fills in the headers of a request. */
void csn_route_headers(const struct csn_route *r, csn_arena *a, const csn_model_request *rq,
                       csn_http_req *req);
/* The decoder for a response with this head. */
csn_decoder *csn_route_decoder(const struct csn_route *r, csn_arena *a, int status,
                               const csn_header *headers, size_t n, const csn_model_request *rq,
                               csn_delta_fn *fn, void *user);

#endif
