/* SPDX-License-Identifier: Apache-2.0
 *
 * agent_read.h - how the files of agent.yaml's reader check and complain.
 * agent_file.c reads the agent, agent_sandbox.c its `sandbox` section.
 */
#ifndef CSN_RUN_AGENT_READ_H
#define CSN_RUN_AGENT_READ_H

#include "run/agent_impl.h"

struct csn_agent_reader {
  csn_agent *a;
  const char *file;
  csn_err *err;
  const csn_sandbox_ops *const *backends; /* of the runtime; may be NULL */
};

/* CSN_E_INVALID with "FILE:LINE: " before the text. */
int csn_agent_complain(const struct csn_agent_reader *r, const csn_json *at, const char *fmt, ...)
    CSN_PRINTF(3, 4);
/* Fails when v, the value of `key`, is of another kind. */
int csn_agent_want(const struct csn_agent_reader *r, const csn_json *v, const char *key,
                   enum csn_json_kind kind);
/* Before a key that only the resolved form has: known, and not told. */
enum { CSN_UNTOLD = '.' };
/* Fails on a member of v that is not in the list, and names the list. */
int csn_agent_only(const struct csn_agent_reader *r, const csn_json *v, const char *where,
                   const char *const *keys);
/* The member `key` of v, as a text of the agent's arena or a whole number of
 * at least `least`; *out stays when there is none. */
int csn_agent_text(const struct csn_agent_reader *r, const csn_json *v, const char *key,
                   csn_str *out);
int csn_agent_whole(const struct csn_agent_reader *r, const csn_json *v, const char *key,
                    int64_t least, int64_t *out);

/* The section `sandbox` or `sandboxes` of the agent v, also when it is absent. */
int csn_agent_read_sandbox(const struct csn_agent_reader *r, const csn_json *v);
/* What stands in one; more: keys that the caller reads. */
int csn_agent_read_one_sandbox(const struct csn_agent_reader *r, const csn_json *m,
                               const char *const *more);
/* agent_boxes.c */
int csn_agent_read_boxes(const struct csn_agent_reader *r, const csn_json *m);
/* `manifest` and `outputs` of v, also when they are absent: agent_file.c */
int csn_agent_read_manifest(const struct csn_agent_reader *r, const csn_json *v);
int csn_agent_read_outputs(const struct csn_agent_reader *r, const csn_json *v);

/* Keys of `sandbox` that one back-end has for itself: agent_options.c */
enum { CSN_OPTIONS_MAX = 16 };
size_t csn_agent_option_keys(const struct csn_agent_reader *r, const char **keys);
int csn_agent_read_options(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_options(const csn_agent *a, csn_jw *w);

/* `capabilities` of the agent v, also when it is absent: agent_capabilities.c */
int csn_agent_read_capabilities(const struct csn_agent_reader *r, const csn_json *v);
/* An entry {type: skills, ...} or {type: memory, ...} of it, or the plain word:
 * agent_skills.c, agent_memory.c */
int csn_agent_read_skills(const struct csn_agent_reader *r, const csn_json *m);
int csn_agent_read_memory(const struct csn_agent_reader *r, const csn_json *m);
/* An entry {type: compaction, ...} of `capabilities`: agent_compaction.c */
int csn_agent_read_compaction(const struct csn_agent_reader *r, const csn_json *m);

/* The sections that stand by themselves: agent_sections.c */
enum { CSN_SECTIONS_MAX = 32 };
/* Writes their names; returns how many. */
size_t csn_agent_section_keys(const char **keys);
int csn_agent_read_sections(const struct csn_agent_reader *r, const csn_json *v);

/* Keeps JSON that was written for a section. */
int csn_agent_keep(const struct csn_agent_reader *r, csn_jw *w, const csn_json **out);
/* The same of a value that is kept as it was read. */
int csn_agent_keep_value(const struct csn_agent_reader *r, const csn_json *v, const csn_json **out);

/* A list, each of whose members `one` reads and writes. */
int csn_agent_read_list(const struct csn_agent_reader *r, const csn_json *m, const char *key,
                        int (*one)(const struct csn_agent_reader *r, const csn_json *v, csn_jw *w),
                        const csn_json **out);
void csn_agent_write_list(const csn_json *list, const char *key, csn_jw *w);

/* agent_file.c: one of `agents`, finished. */
int csn_agent_read_member(const struct csn_agent_reader *r, const csn_json *v, csn_agent **out);

/* agent_backend.c */
int csn_agent_read_backend(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_backend(const csn_agent *a, csn_jw *w);

/* agent_models.c; m may be NULL */
int csn_agent_read_model(const struct csn_agent_reader *r, const csn_json *m);

/* agent_team.c */
int csn_agent_read_agents(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_agents(const csn_agent *a, csn_jw *w);
int csn_agent_read_handoffs(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_handoffs(const csn_agent *a, csn_jw *w);
int csn_agent_read_agent_tools(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_agent_tools(const csn_agent *a, csn_jw *w);

/* agent_http.c: an entry of `tools` with a member `http`, written to w; fills the
 * function and the rule for replays. */
int csn_agent_read_http(const struct csn_agent_reader *r, const csn_json *t, csn_tool *decl,
                        csn_jw *w);
/* agent_hosted.c: an entry of `tools` with a member `hosted`, written to w. */
int csn_agent_read_hosted(const struct csn_agent_reader *r, const csn_json *t, csn_jw *w);

/* agent_tools.c */
int csn_agent_read_tools(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_tools(const csn_agent *a, csn_jw *w);

/* agent_settings.c */
int csn_agent_read_settings(const struct csn_agent_reader *r, const csn_json *m);

/* agent_budget.c */
int csn_agent_read_budget(const struct csn_agent_reader *r, const csn_json *m);

/* agent_callbacks.c */
int csn_agent_read_guardrails(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_guardrails(const csn_agent *a, csn_jw *w);
/* The schema of an object, in its strict form. */
int csn_agent_strict_schema(const struct csn_agent_reader *r, const csn_json *m, const char *key,
                            const csn_json **out);
int csn_agent_read_output_schema(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_output_schema(const csn_agent *a, csn_jw *w);
int csn_agent_read_tool_use(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_tool_use(const csn_agent *a, csn_jw *w);
int csn_agent_read_tool_settings(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_tool_settings(const csn_agent *a, csn_jw *w);

int csn_agent_read_reset_tool_choice(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_reset_tool_choice(const csn_agent *a, csn_jw *w);

/* agent_errors.c */
int csn_agent_read_errors(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_errors(const csn_agent *a, csn_jw *w);

/* agent_environment.c */
int csn_agent_read_environment(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_environment(const csn_agent *a, csn_jw *w);

/* agent_untrusted.c */
int csn_agent_read_untrusted(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_untrusted(const csn_agent *a, csn_jw *w);

/* agent_scopes.c */
int csn_agent_read_scopes(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_scopes(const csn_agent *a, csn_jw *w);

/* agent_policy.c */
int csn_agent_read_approvals(const struct csn_agent_reader *r, const csn_json *m);
/* Parts of it: agent_limits.c */
int csn_agent_read_limits(const struct csn_agent_reader *r, const csn_json *limits);
void csn_agent_write_limits(const csn_agent *a, csn_jw *w);
int csn_agent_read_strict(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_strict(const csn_agent *a, csn_jw *w);
/* agent_saving.c */
int csn_agent_read_from(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_from(const csn_agent *a, csn_jw *w);
int csn_agent_read_checkpoint(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_checkpoint(const csn_agent *a, csn_jw *w);
/* agent_network.c */
int csn_agent_read_network(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_network(const csn_agent *a, csn_jw *w);
int csn_agent_read_secrets(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_secrets(const csn_agent *a, csn_jw *w);
int csn_agent_read_expose(const struct csn_agent_reader *r, const csn_json *m);
void csn_agent_write_expose(const csn_agent *a, csn_jw *w);

#endif
