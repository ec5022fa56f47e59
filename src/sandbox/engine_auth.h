/* SPDX-License-Identifier: Apache-2.0
 *
 * engine_auth.h - who we are to a registry, as the files of docker's own client
 * say it: config.json in $DOCKER_CONFIG or ~/.docker, and the programs
 * docker-credential-NAME that it names.
 */
#ifndef CSN_SANDBOX_ENGINE_AUTH_H
#define CSN_SANDBOX_ENGINE_AUTH_H

#include "caisson/scope.h"
#include "caisson/str.h"

/* The registry of an image's name: "registry.example.com:5000", or "docker.io". */
csn_str csn_engine_registry(csn_str image);
/* Adds the header field X-Registry-Auth with its CRLF, or nothing where nobody is
 * known there: 1 or 0.  It is secret.  What is wrong with the files is an error that
 * says which, and never what is in them. */
int csn_engine_auth(csn_scope *sc, csn_str registry, csn_buf *field, csn_err *err) CSN_MUST;

#endif
