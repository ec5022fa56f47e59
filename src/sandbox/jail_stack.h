/* SPDX-License-Identifier: Apache-2.0
 * jail_stack.h - what a jail needs for a workspace that can be frozen. */
#ifndef CSN_SANDBOX_JAIL_STACK_H
#define CSN_SANDBOX_JAIL_STACK_H

#include "sandbox/jail.h"

/* Puts the layers of a workspace, which may be NULL, into a request. */
void csn_jail_stack_ask(csn_jail_ask *ask, const struct csn_stack *stack);
/* The same for a build over the layers that the request has: its folder holds
 * `upper` and `work`. */
int csn_jail_build_ask(csn_jail_ask *ask, int folder, csn_err *err) CSN_MUST;

/* The workspace is the view that came of it, unless that is -1. */
void csn_jail_stack_take(csn_sandbox *sb, int view);

/* The word that says what holds an open sandbox's workspace. */
const char *csn_jail_workspace(const csn_sandbox *sb);

/* 0: no process but the warden is in the jail, and while nobody else uses
 * `control` there will be none; else CSN_E_CONFLICT.  *has_files: its folders of
 * memory hold something; may be NULL. */
int csn_jail_idle(int control, csn_scope *sc, bool *has_files, csn_err *err) CSN_MUST;

#endif
