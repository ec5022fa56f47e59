/* SPDX-License-Identifier: Apache-2.0
 *
 * agent.h - an agent is a value: a name, a model, instructions, tools, what
 * its workspace holds and how far it may go.  agent.yaml is its file form.
 */
#ifndef CAISSON_AGENT_H
#define CAISSON_AGENT_H

#include "callback.h"
#include "tool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csn_agent csn_agent;

/* An agent without capabilities (no sandbox); 40 turns, no wall limit. */
CSN_API csn_agent *csn_agent_new(const char *name);
CSN_API void csn_agent_free(csn_agent *a);

/* Reads agent.yaml.  Paths in it are relative to the file.  Every mistake is
 * reported as "FILE:LINE: what was found, what was expected". */
CSN_API int csn_agent_load(csn_agent **out, const char *path, csn_err *err) CSN_MUST;
/* The same from a tree; `folder` is what relative paths start from. */
CSN_API int csn_agent_from_json(csn_agent **out, const csn_json *v, const char *file,
                                const char *folder, csn_err *err) CSN_MUST;
/* The resolved form: absolute paths, instructions in place. */
CSN_API void csn_agent_to_json(const csn_agent *a, csn_jw *w);

CSN_API void csn_agent_set_model(csn_agent *a, const char *model); /* "openai/gpt-5.4-mini" */
CSN_API void csn_agent_set_instructions(csn_agent *a, csn_str text);
/* The name of a callback that gives the instructions before each model call. */
CSN_API void csn_agent_set_instructions_callback(csn_agent *a, const char *name);
CSN_API void csn_agent_set_turns(csn_agent *a, int64_t turns);     /* model calls; 0: no limit */
CSN_API void csn_agent_set_wall_ms(csn_agent *a, int64_t wall_ms); /* 0: no limit */
/* Binds a name that the agent's sections use: guardrails, instructions,
 * predicates.  Copied; `user` is borrowed. */
CSN_API int csn_agent_add_callback(csn_agent *a, const csn_callback *cb, csn_err *err) CSN_MUST;
/* A section of agent.yaml as JSON: "approvals", "guardrails", "tool_settings",
 * "limits", "handoffs", "agent_tools", "tool_use",
 * "output_schema", ...: docs/ says what they hold.
 * A second call replaces it. */
CSN_API int csn_agent_set(csn_agent *a, const char *section, csn_str json, csn_err *err) CSN_MUST;
/* "jail", "local", "fake", one of the runtime's own: gives the agent a sandbox and
 * the capabilities filesystem and shell. */
CSN_API void csn_agent_set_sandbox(csn_agent *a, const char *backend);
/* A folder copied into the workspace under `name`. */
CSN_API int csn_agent_add_folder(csn_agent *a, const char *name, const char *path,
                                 csn_err *err) CSN_MUST;
/* The struct is copied, what it points to is borrowed until the agent is
 * freed.  Errors: a name taken already, a schema that cannot be made strict. */
CSN_API int csn_agent_add_tool(csn_agent *a, const csn_tool *tool, csn_err *err) CSN_MUST;

/* Another agent of the same runs, which the first hands off to and shares its
 * workspace, limits and approvals with.  Takes `member` over, also when it
 * fails.  Add the members before the first run. */
CSN_API int csn_agent_add_agent(csn_agent *a, csn_agent *member, csn_err *err) CSN_MUST;
/* What an agent is for, as others are told when they may hand off to it. */
CSN_API void csn_agent_set_description(csn_agent *a, const char *text);

CSN_API const char *csn_agent_name(const csn_agent *a);
CSN_API const char *csn_agent_model(const csn_agent *a);

/* The JSON Schemas of agent.yaml and caisson.yaml. */
CSN_API const char *csn_agent_schema(void);
CSN_API const char *csn_project_schema(void);

CSN_FREER(agent)

#ifdef __cplusplus
}
#endif
#endif
