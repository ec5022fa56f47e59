/* SPDX-License-Identifier: Apache-2.0
 *
 * agent_impl.h - what an agent consists of; read only once it is made.
 */
#ifndef CSN_RUN_AGENT_IMPL_H
#define CSN_RUN_AGENT_IMPL_H

#include "caisson/agent.h"
#include "caisson/manifest.h"
#include "caisson/model.h"
#include "sandbox/outputs.h"

struct csn_project;

/* A tool that the provider runs: agent_hosted.c */
struct csn_agent_hosted {
  const char *type;
  csn_str wire, label; /* label: of an MCP server */
  bool has_results;    /* asks for the results of a file search */
};

struct csn_agent_tool {
  csn_tool tool;
  csn_tool_decl decl;
  bool is_builtin; /* of a capability */
  bool takes_box;  /* its argument `sandbox` says in which it works */
};

/* What an agent can be given beside its tools: agent_capabilities.c */
enum csn_capability {
  CSN_CAPABILITY_FILES,
  CSN_CAPABILITY_SHELL,
  CSN_CAPABILITY_SKILLS,
  CSN_CAPABILITY_MEMORY,
  CSN_CAPABILITY_COMPACTION
};
enum { CSN_CAPABILITIES = 5 };

/* How many sandboxes a run may have, and how long their names are. */
enum { CSN_BOXES_MAX = 8, CSN_BOX_NAME_MAX = 24 };

/* The section `sandbox`; agent_sandbox.c reads and writes it. */
struct csn_agent_sandbox {
  const char *backend, *level, *rootfs, *run_as; /* level: NULL for the native one */
  const char *description;                       /* for the model, of one among several; or NULL */
  const char *cwd;            /* folder of the workspace in which commands start; NULL: its top */
  const char *const *devices; /* may be NULL */
  const char *const *environment; /* NAME=VALUE, NULL-terminated */
  csn_sandbox_limits limits;
  const csn_json *network, *secrets; /* as in the file, without values; may be NULL */
  uint16_t *expose;
  size_t n_expose;
  uint32_t pool;
  const csn_json *mount_credentials; /* see sandbox/mount_authority.h; may be NULL */
  const csn_json *options; /* keys of one back-end alone, see agent_options.c; may be NULL */
  const char *from;        /* the snapshot that a workspace begins with; or NULL */
  int64_t checkpoint_ms;   /* least time between two; or one of the words; 0: the default */
};
enum { CSN_CHECKPOINT_EACH = -1, CSN_CHECKPOINT_NEVER = -2 };

/* The section `limits`; 0: none. */
struct csn_agent_limits {
  int64_t turns, wall_ms, output_tokens; /* output_tokens: of one result of a tool */
  int64_t tokens, tool_calls, repeats, handoffs;
  int64_t parallel; /* tool calls at once */
  int64_t children; /* agents that are called as tools */
  double cost_usd;
  int64_t soft_percent; /* of tokens or cost, at which somebody is asked or the model changes */
  const char *soft_model;
};

struct csn_agent {
  csn_arena *arena;                  /* owns everything below */
  const char *name, *model, *folder; /* folder: what relative paths start from */
  const csn_json *models;            /* `model` as a list, see models.h; NULL: one name */
  csn_str instructions;
  csn_str full_instructions;         /* with what the capabilities and the manifest add */
  const char *instructions_callback; /* gives them in the place of the text; NULL: none */
  const csn_json *settings;
  bool keeps_tool_choice;    /* also once it has used a tool */
  csn_str base_instructions; /* in the place of ours; p NULL: ours */
  bool ignores_agents_md;    /* of the workspace; of the first agent */
  bool has_shell, has_files;
  enum csn_capability capabilities[CSN_CAPABILITIES]; /* in the file's order */
  size_t n_capabilities;
  const csn_json *compaction; /* the capability's entry; NULL: as it is for all */
  const csn_json *skills;     /* likewise, resolved: skills.h; NULL: none */
  const csn_json *memory;     /* likewise: memory.h */
  bool has_sandbox;
  struct csn_agent_sandbox sandbox;
  const char *box_name; /* of that one among several; NULL: there is one */
  csn_agent **boxes;    /* the others, owned: agent_boxes.c */
  size_t n_boxes;
  csn_manifest *manifest;
  const csn_json *manifest_json;
  struct csn_agent_limits limits;
  const csn_json *guardrails, *tool_settings, *tool_use,
      *output_schema; /* resolved sections; NULL: none */
  csn_callback *callbacks;
  size_t n_callbacks;
  const csn_json *handoffs;    /* resolved */
  const csn_json *tools_json;  /* the section `tools`, resolved */
  bool has_commands;           /* some of them run in the sandbox */
  const char *harness_tool;    /* one that runs outside; or NULL */
  const csn_json *bound_tools; /* names of the program's tools, of a resumed member */
  const csn_json *agent_tools; /* resolved: members that are called as tools */
  const char *run_parent;      /* of a child: the id of the run that called it; or NULL */
  const char *description;     /* for hand-offs to it; or NULL */
  csn_agent **agents;          /* the others of its run, owned */
  size_t n_agents;
  csn_agent *parent;      /* the first agent, of which this is one of `agents`; or NULL */
  const csn_json *errors; /* the section `error_handlers`; NULL: none */
  csn_file_scope scopes;  /* what of the workspace it may use, when has_scopes */
  bool has_scopes;
  const csn_json *untrusted;   /* {entries?, tools?}; NULL: none */
  const csn_json *environment; /* sandbox/environment.h; NULL: none */
  const csn_json *approvals;   /* resolved rules, see policy.h; NULL: none */
  csn_output *outputs;
  size_t n_outputs;
  struct csn_agent_tool *tools;
  size_t n_tools;
  const struct csn_agent_hosted *hosted;
  size_t n_hosted;
};

enum {
  CSN_DEFAULT_TURNS = 40,
  CSN_DEFAULT_OUTPUT_TOKENS = 10000,
  CSN_DEFAULT_REPEATS = 10,
  CSN_DEFAULT_HANDOFFS = 4
};

/* Adds the tools of the capabilities and writes full_instructions. */
int csn_agent_finish(csn_agent *a, csn_err *err) CSN_MUST;
/* `model`: agent_models.c.  Calls fn for each model that the agent or its
 * members may use; lists of the project are looked into. */
typedef int csn_model_fn(const struct csn_project *p, const char *model, void *user, csn_err *err);
int csn_agent_each_model(const csn_agent *a, const struct csn_project *p, csn_model_fn *fn,
                         void *user, csn_err *err) CSN_MUST;
/* The same for one agent's own. */
int csn_agent_own_models(const csn_agent *a, const struct csn_project *p, csn_model_fn *fn,
                         void *user, csn_err *err) CSN_MUST;
/* Hosted and deferred tools, and whether the models know them: agent_hosted.c */
int csn_agent_check_hosted(const csn_agent *a, const struct csn_project *p, csn_err *err) CSN_MUST;
/* One of them as the codec wants it; what is made lives in the arena. */
csn_tool_decl csn_agent_hosted_decl(const csn_agent *a, size_t i, csn_arena *arena);
bool csn_agent_defers(const csn_agent *a, csn_str tool);
/* Whether each leads somewhere. */
int csn_agent_check_models(const csn_agent *a, const struct csn_project *p, csn_err *err) CSN_MUST;
/* The member `model` of the resolved form. */
void csn_agent_write_model(const csn_agent *a, csn_jw *w);
/* An object of the lists by agent, for record 0. */
int csn_agent_write_models(const csn_agent *a, const struct csn_project *p, csn_jw *w,
                           csn_err *err) CSN_MUST;
/* Whether it can run here: a model that leads somewhere. */
int csn_agent_check(const csn_agent *a, const struct csn_project *p, csn_err *err) CSN_MUST;
/* "NAME=VALUE" list of an object of strings. */
const char *const *csn_environment_of(csn_arena *a, const csn_json *v);

/* The policy of the sandbox in `to`, or NULL: agent_network.c.  It holds the
 * secrets' values, read now; one that is missing is CSN_E_INVALID, naming it. */
int csn_agent_network(const csn_agent *a, csn_arena *to, csn_network **out, csn_err *err) CSN_MUST;

/* Another back-end for a run that goes on; CSN_E_INVALID when there is no such.
 * own, here and below: the runtime's; may be NULL.  agent_backend.c */
int csn_agent_change_backend(csn_agent *a, const csn_sandbox_ops *const *own, const char *name,
                             csn_err *err) CSN_MUST;
/* Whether there is its back-end, and that one which is a program may be started:
 * is_allowed, or trusted (trust.h); else CSN_E_DENIED. */
int csn_agent_check_backend(const csn_agent *a, const csn_sandbox_ops *const *own, bool is_allowed,
                            csn_err *err) CSN_MUST;
/* csn_agent_from_json() for a runtime. */
int csn_agent_from_json_of(csn_agent **out, const csn_json *v, const char *file, const char *folder,
                           const csn_sandbox_ops *const *own, csn_err *err) CSN_MUST;
/* The section `sandbox` of the resolved form, or `sandboxes`: agent_sandbox.c; and
 * what stands in one. */
void csn_agent_write_one_sandbox(const csn_agent *a, csn_jw *w);
void csn_agent_sandbox_to_json(const csn_agent *a, csn_jw *w);

/* The section `sandboxes`: agent_boxes.c.  Sandboxes are counted from 0, the agent's
 * own; each is told by an agent of which only the sections of a sandbox count. */
const csn_agent *csn_agent_box(const csn_agent *a, size_t i); /* NULL: no such */
const char *csn_agent_box_name(const csn_agent *a, size_t i); /* NULL: it has one */
/* Of a member, too; false: none has that name.  Their names, with commas. */
bool csn_agent_box_find(const csn_agent *a, csn_str name, size_t *i);
csn_str csn_agent_box_names(const csn_agent *a, csn_arena *to);
void csn_agent_write_boxes(const csn_agent *a, csn_jw *w);
void csn_agent_tell_boxes(const csn_agent *a, csn_buf *out);
/* The member `enum` of a schema: their names. */
void csn_agent_write_box_enum(const csn_agent *root, csn_jw *w);
/* It has the tool copy_files: nothing holds that to a part of a workspace. */
bool csn_agent_copies_files(const csn_agent *a);
/* A tool that works in one of them: takes the argument `sandbox` when there are
 * several. */
int csn_agent_add_box_tool(csn_agent *a, const csn_tool *tool, csn_err *err) CSN_MUST;
/* `outputs` of the resolved form. */
void csn_agent_write_outputs(const csn_agent *a, csn_jw *w);

/* The list `capabilities` of the resolved form: agent_capabilities.c */
void csn_agent_write_capabilities(const csn_agent *a, csn_jw *w);
bool csn_agent_has_capability(const csn_agent *a, enum csn_capability which);
/* The callback of that name, or NULL: agent_callbacks.c */
const csn_callback *csn_agent_callback(const csn_agent *a, csn_str name);
/* Whether all that the sections name is bound. */
int csn_agent_check_callbacks(const csn_agent *a, csn_err *err) CSN_MUST;

/* The agent of that name in a run; NULL: none.  agent_team.c, as the next. */
const csn_agent *csn_agent_member(const csn_agent *root, csn_str name);
/* The tool that hands off; what is made up lives in the arena. */
csn_tool_decl csn_agent_handoff_decl(const csn_agent *a, const csn_json *handoff, csn_arena *arena);
/* The tool that a member is called as. */
csn_tool_decl csn_agent_child_decl(const csn_agent *a, const csn_json *agent_tool);
int csn_agent_check_team(const csn_agent *a, csn_err *err) CSN_MUST;

/* The section `scopes`: agent_scopes.c.  Whether it or a member has some; that
 * the sandbox can hold them; as a sentence of the instructions. */
bool csn_agent_any_scopes(const csn_agent *a);
int csn_agent_check_scopes(const csn_agent *a, csn_err *err) CSN_MUST;
void csn_agent_tell_scopes(const csn_agent *a, csn_buf *out);

/* Mounts and values that nobody here has: box_manifest.c */
int csn_agent_check_manifest(const csn_agent *a, csn_err *err) CSN_MUST;

/* Tools that run outside of the sandbox must be allowed: agent_tools.c */
int csn_agent_check_harness(const csn_agent *a, bool is_allowed, csn_err *err) CSN_MUST;
/* What `tool_settings` say about a tool, the first that fits; or NULL. */
const csn_json *csn_agent_tool_setting(const csn_agent *a, csn_str tool, const char *key);

/* Settings that the models' APIs do not have: agent_settings.c */
int csn_agent_check_settings(const csn_agent *a, const struct csn_project *p,
                             csn_err *err) CSN_MUST;

/* The section `limits`: agent_budget.c */
void csn_agent_write_budget(const csn_agent *a, csn_jw *w);
/* A limit of cost needs the price of each model. */
int csn_agent_check_prices(const csn_agent *a, const struct csn_project *p, csn_err *err) CSN_MUST;
/* An object of the known prices of its models, for record 0. */
int csn_agent_write_prices(const csn_agent *a, const struct csn_project *p, csn_jw *w,
                           csn_err *err) CSN_MUST;

/* From how many tokens on its conversations are shortened, by model, for
 * record 0: agent_compaction.c */
int csn_agent_write_compact_at(const csn_agent *a, const struct csn_project *p, csn_jw *w,
                               csn_err *err) CSN_MUST;

/* Of the resolved form: agent_sections.c */
void csn_agent_write_sections(const csn_agent *a, csn_jw *w);
/* The section `approvals` of the resolved form. */
void csn_agent_write_approvals(const csn_agent *a, csn_jw *w);
/* Whether its workspace or what a tool gives is declared untrusted, and that
 * what it names is there: agent_untrusted.c */
bool csn_agent_has_untrusted_files(const csn_agent *a);
bool csn_agent_is_untrusted_tool(const csn_agent *a, csn_str tool);
int csn_agent_check_untrusted(const csn_agent *a, csn_err *err) CSN_MUST;
/* Whether its sandbox can have an environment: agent_environment.c */
int csn_agent_check_environment(const csn_agent *a, csn_err *err) CSN_MUST;
/* The section `approvals`, checked against the agent's tools: agent_policy.c */
int csn_agent_check_approvals(const csn_agent *a, csn_err *err) CSN_MUST;

/* Add the tools of a capability: capability.c */
int csn_capability_shell(csn_agent *a, csn_err *err) CSN_MUST;
int csn_capability_files(csn_agent *a, csn_err *err) CSN_MUST;
/* copy_tool.c */
int csn_capability_copy(csn_agent *a, csn_err *err) CSN_MUST;

#endif
