/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.h - the HTTP API of a container engine (Docker's, version 1.41, which
 * podman speaks, too): requests, answers, streams.
 *
 * An engine has no state but where it is; calls may come from any thread.  What
 * it answers is not trusted further than the containers it runs: sizes are
 * bounded, and a strange answer is CSN_E_PARSE.
 */
#ifndef CSN_SANDBOX_ENGINE_H
#define CSN_SANDBOX_ENGINE_H

#include "caisson/json.h"
#include "wire/link.h"

typedef struct csn_engine {
  char *host; /* as it is told to people: "unix:///var/run/docker.sock" */
  char *name; /* of a TCP host */
  csn_link_place place;
  csn_tls_who who; /* of `place`, over TLS; on the heap */
} csn_engine;

/* host: unix://PATH or tcp://HOST:PORT; empty: $DOCKER_HOST, else the usual
 * socket.  With $DOCKER_TLS_VERIFY tcp is over TLS, by ca.pem, cert.pem and key.pem of
 * $DOCKER_CERT_PATH (else ~/.docker).  Connects to nothing. */
int csn_engine_init(csn_engine *e, csn_str host, csn_err *err) CSN_MUST;
void csn_engine_fini(csn_engine *e);

/* One request.  path: after the version; body: JSON, may be empty.  The status
 * when it is below 400; *answer (may be NULL) is NULL without one.  Else, with the
 * engine's own words: 404 NOT_FOUND, 409 CONFLICT, 400 INVALID, 401 and 403
 * DENIED, others SANDBOX; UNAVAILABLE when nobody is there. */
int csn_engine_ask(const csn_engine *e, csn_scope *sc, const char *method, const char *path,
                   csn_str body, csn_arena *a, const csn_json **answer, csn_err *err) CSN_MUST;
/* The same for what goes on as a stream, which is the caller's. */
int csn_engine_hijack(const csn_engine *e, csn_scope *sc, const char *path, csn_str body,
                      csn_link **out, csn_err *err) CSN_MUST;
/* An answer's bytes into a file, `most` at most (CSN_E_LIMIT). */
int csn_engine_download(const csn_engine *e, csn_scope *sc, const char *path, int fd, int64_t most,
                        csn_err *err) CSN_MUST;
/* `head`, then all that fd has from where it stands, as the body of a PUT. */
int csn_engine_upload(const csn_engine *e, csn_scope *sc, const char *path, csn_str head, int fd,
                      csn_err *err) CSN_MUST;
/* A POST whose answer is a line of JSON for each thing that happens.  fn's
 * negative result ends it.  fields: further ones of the head, which may be secret. */
typedef int csn_engine_line(void *user, const csn_json *line, csn_err *err);
int csn_engine_watch(const csn_engine *e, csn_scope *sc, const char *path, csn_str fields,
                     csn_engine_line *fn, void *user, csn_err *err) CSN_MUST;
/* The same with all that fd has as its body. */
int csn_engine_import(const csn_engine *e, csn_scope *sc, const char *path, int fd,
                      csn_engine_line *fn, void *user, csn_err *err) CSN_MUST;

/* Is one there, where DOCKER_HOST or the usual socket says?  *note: what it is,
 * or why not. */
bool csn_engine_probe(csn_scope *sc, csn_buf *note);

/* Adds text with all but letters, digits and "-._~" as %XX. */
void csn_engine_escape(csn_buf *out, csn_str text);

#endif
