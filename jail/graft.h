/* SPDX-License-Identifier: Apache-2.0
 * graft.h - the spawner's program as the network of a container. */
#ifndef CSN_JAIL_GRAFT_H
#define CSN_JAIL_GRAFT_H

/* Its second argument, after which follows the path of the harness's socket. */
#define CSN_GRAFT_WORD "graft"

/* Serves whoever listens at `path`, which speaks jail/proto.h: a csn_jail_open,
 * of which `networked` and the ports count; then DIAL frames.  It answers with
 * LISTENING if networked, and READY, or FAILED. */
int csn_graft_main(const char *path);

#endif
