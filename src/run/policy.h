/* SPDX-License-Identifier: Apache-2.0
 *
 * policy.h - what the rules of `approvals` say about a tool call.
 *
 * Rules are JSON objects {tool, agent?, match?, label?, do, reason?, expires_ms?};
 * the first that fits decides; those with `network` are not about calls.  `match` is one pattern
 * for the call's text, or an object of patterns by argument.  To allow, every text must match; to
 * ask or deny, one is enough.  Pure.
 */
#ifndef CSN_RUN_POLICY_H
#define CSN_RUN_POLICY_H

#include "caisson/json.h"
#include "caisson/network.h"
#include "core/hash.h"

enum csn_verdict { CSN_ALLOW, CSN_DENY, CSN_ASK };

/* A call as the rules see it. */
typedef struct csn_policy_call {
  csn_str agent, tool, input; /* input: the arguments' text, or the free text */
  bool is_custom;
  bool is_untrusted;    /* whoever makes it has seen what is not to be trusted */
  const csn_json *args; /* parsed input of a function; NULL: free text, or not to be parsed */
  csn_str box; /* of several sandboxes the one that it would work in; empty: none is named */
} csn_policy_call;

/* Fills args and box; what is parsed lives in the arena.  root: the resolved agent of
 * record 0; or NULL. */
void csn_policy_call_read(csn_policy_call *c, const csn_json *root, csn_arena *a);
/* *rule: the one that decided, NULL when none fits (which allows). */
enum csn_verdict csn_policy_look(const csn_json *rules, const csn_policy_call *c, int64_t now_ms,
                                 const csn_json **rule);
/* Whether the pattern fits the call's text, as a rule that allows or one that
 * asks or denies. */
bool csn_policy_fits(const csn_policy_call *c, csn_str pattern, bool to_allow);
/* What the rules on the network leave of it. */
enum csn_network_restriction csn_policy_network(const csn_json *rules, bool is_untrusted);
/* Equal for calls with equal arguments, whatever the blanks between them. */
csn_digest csn_policy_scope(const csn_policy_call *c);

#endif
