/* SPDX-License-Identifier: Apache-2.0
 * agent.c - an agent made by a program; agent_file.c makes one from a file. */
#include <stdio.h>

#include "run/instructions.h"
#include "run/memory.h"
#include "run/project.h"
#include "run/skills.h"
#include "sandbox/manifest_mount.h"

enum { INSTRUCTIONS_MAX_BYTES = 16 << 20, SCHEMA_MAX_BYTES = 1 << 20 };

csn_agent *
csn_agent_new(const char *name)
{
  csn_arena *arena = csn_arena_new(0);
  csn_agent *a = csn_alloc(sizeof *a);
  csn_auto(csn_freep) char *here = getcwd(NULL, 0);
  *a = (csn_agent){
      .arena = arena,
      .name = csn_arena_dup(arena, csn_cstr(name)).p,
      .model = "",
      .folder = csn_arena_dup(arena, csn_cstr(here ? here : "/")).p,
      .limits = {.turns = CSN_DEFAULT_TURNS,
                 .output_tokens = CSN_DEFAULT_OUTPUT_TOKENS,
                 .repeats = CSN_DEFAULT_REPEATS,
                 .handoffs = CSN_DEFAULT_HANDOFFS},
  };
  return a;
}

void
csn_agent_free(csn_agent *a)
{
  if (!a)
    return;
  free(a->tools);
  free(a->callbacks);
  for (size_t i = 0; i < a->n_agents; i++)
    csn_agent_free(a->agents[i]);
  free(a->agents);
  for (size_t i = 0; i < a->n_boxes; i++)
    csn_agent_free(a->boxes[i]);
  free(a->boxes);
  csn_arena_free(a->arena);
  free(a);
}

void
csn_agent_set_model(csn_agent *a, const char *model)
{
  a->model = csn_arena_dup(a->arena, csn_cstr(model)).p;
  a->models = NULL;
}

void
csn_agent_set_instructions(csn_agent *a, csn_str text)
{
  a->instructions = csn_arena_dup(a->arena, text);
  a->full_instructions = a->instructions;
}

void
csn_agent_set_description(csn_agent *a, const char *text)
{
  a->description = csn_arena_dup(a->arena, csn_cstr(text)).p;
}

void
csn_agent_set_instructions_callback(csn_agent *a, const char *name)
{
  a->instructions_callback = csn_arena_dup(a->arena, csn_cstr(name)).p;
}

void
csn_agent_set_turns(csn_agent *a, int64_t turns)
{
  a->limits.turns = turns > 0 ? turns : 0;
}

void
csn_agent_set_wall_ms(csn_agent *a, int64_t wall_ms)
{
  a->limits.wall_ms = wall_ms > 0 ? wall_ms : 0;
}

const char *
csn_agent_name(const csn_agent *a)
{
  return a->name;
}

const char *
csn_agent_model(const csn_agent *a)
{
  return a->model;
}

static int
declare(csn_agent *a, struct csn_agent_tool *t, csn_err *err)
{
  const csn_tool *tool = &t->tool;
  t->decl = (csn_tool_decl){
      .name = csn_cstr(tool->name),
      .description = csn_cstr(tool->description),
      .schema = csn_cstr(tool->schema),
      .format = csn_cstr(tool->format),
      .strict = tool->schema && !tool->is_loose,
  };
  if (!t->decl.strict)
    return 0;
  const csn_json *schema;
  csn_auto(csn_buf_finip) csn_buf strict = CSN_BUF(SCHEMA_MAX_BYTES);
  int rc = csn_json_parse(a->arena, t->decl.schema, &schema, err);
  if (rc == 0)
    rc = csn_schema_strict(a->arena, schema, &strict, err);
  if (rc < 0)
    return csn_wrap(err, rc, "schema of tool %s", tool->name);
  t->decl.schema = csn_arena_dup(a->arena, csn_buf_str(&strict));
  return 0;
}

int
csn_agent_add_tool(csn_agent *a, const csn_tool *tool, csn_err *err)
{
  if (!tool->name || !*tool->name || !tool->call)
    return csn_fail(err, CSN_E_INVALID, "a tool needs a name and a function");
  for (size_t i = 0; i < a->n_tools; i++)
    if (strcmp(a->tools[i].tool.name, tool->name) == 0)
      return csn_fail(err, CSN_E_EXISTS, "agent %s has a tool %s already", a->name, tool->name);
  struct csn_agent_tool t = {.tool = *tool};
  int rc = declare(a, &t, err);
  if (rc < 0)
    return rc;
  a->tools = csn_realloc(a->tools, a->n_tools + 1, sizeof *a->tools);
  a->tools[a->n_tools++] = t;
  return 0;
}

int
csn_agent_finish(csn_agent *a, csn_err *err)
{
  size_t n = a->n_tools;
  int rc = a->has_files ? csn_capability_files(a, err) : 0;
  if (rc == 0 && a->has_shell)
    rc = csn_capability_shell(a, err);
  if (rc == 0 && csn_agent_has_capability(a, CSN_CAPABILITY_SKILLS))
    rc = csn_capability_skills(a, err);
  if (rc == 0 && csn_agent_has_capability(a, CSN_CAPABILITY_MEMORY))
    rc = csn_capability_memory(a, err);
  for (; n < a->n_tools; n++)
    a->tools[n].is_builtin = true;
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(INSTRUCTIONS_MAX_BYTES);
  rc = csn_instructions_write(a, a->instructions, NULL, &text, err);
  a->full_instructions = csn_arena_dup(a->arena, csn_buf_str(&text));
  return rc;
}

void
csn_agent_set_sandbox(csn_agent *a, const char *backend)
{
  a->has_sandbox = true;
  a->sandbox.backend = csn_arena_dup(a->arena, csn_cstr(backend)).p;
  if (a->has_shell)
    return;
  a->has_shell = a->has_files = true;
  a->capabilities[a->n_capabilities++] = CSN_CAPABILITY_FILES;
  a->capabilities[a->n_capabilities++] = CSN_CAPABILITY_SHELL;
  csn_err err;
  if (csn_agent_finish(a, &err) < 0) { /* only when a program took one of the four names */
    fprintf(stderr, "caisson: %s\n", err.msg);
    abort();
  }
}

int
csn_agent_add_folder(csn_agent *a, const char *name, const char *path, csn_err *err)
{
  csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "entries");
  csn_jw_obj(&w);
  csn_json_each (old, csn_json_get(a->manifest_json, "entries")) {
    csn_jw_keyn(&w, old->key);
    csn_jw_value(&w, old);
  }
  csn_jw_key(&w, name);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "local_dir");
  csn_jw_key(&w, "src");
  csn_jw_strz(&w, path);
  csn_jw_end(&w);
  csn_jw_end(&w);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  csn_str json = csn_arena_dup(a->arena, csn_buf_str(&text));
  csn_buf_fini(&text);
  if (rc == 0)
    rc = csn_json_parse(a->arena, json, &a->manifest_json, err);
  if (rc == 0)
    rc = csn_manifest_from_json(a->arena, a->manifest_json, &a->manifest, err);
  return rc;
}

int
csn_agent_check(const csn_agent *a, const struct csn_project *p, csn_err *err)
{
  if (!*a->model)
    return csn_fail(err, CSN_E_INVALID,
                    "agent %s names no model; write `model: openai/NAME` in its file, or give "
                    "--model openai/NAME",
                    a->name);
  int rc = csn_agent_check_models(a, p, err);
  if (rc == 0)
    rc = csn_agent_check_hosted(a, p, err);
  if (rc == 0)
    rc = csn_agent_check_settings(a, p, err);
  if (rc == 0)
    rc = csn_agent_check_team(a, err);
  if (rc == 0)
    rc = csn_agent_check_prices(a, p, err);
  if (rc == 0)
    rc = csn_agent_check_callbacks(a, err);
  if (rc == 0)
    rc = csn_agent_check_untrusted(a, err);
  if (rc == 0)
    rc = csn_agent_check_manifest(a, err);
  if (rc == 0)
    rc = csn_agent_check_scopes(a, err);
  if (rc == 0)
    rc = csn_agent_check_environment(a, err);
  return rc < 0 ? rc : csn_agent_check_approvals(a, err);
}

static void
member(csn_jw *w, const char *key, const char *z)
{
  csn_jw_key(w, key);
  csn_jw_strz(w, z);
}

void
csn_agent_write_outputs(const csn_agent *a, csn_jw *w)
{
  if (!a->n_outputs)
    return;
  csn_jw_key(w, "outputs");
  csn_jw_arr(w);
  for (size_t i = 0; i < a->n_outputs; i++) {
    csn_jw_obj(w);
    csn_jw_key(w, "path");
    csn_jw_str(w, a->outputs[i].path);
    if (a->outputs[i].to.n) {
      csn_jw_key(w, "to");
      csn_jw_str(w, a->outputs[i].to);
    }
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

void
csn_agent_to_json(const csn_agent *a, csn_jw *w)
{
  csn_jw_obj(w);
  member(w, "name", a->name);
  if (a->description)
    member(w, "description", a->description);
  if (*a->model || !a->parent)
    csn_agent_write_model(a, w);
  csn_jw_key(w, "instructions");
  if (a->instructions_callback) {
    csn_jw_obj(w);
    member(w, "callback", a->instructions_callback);
    csn_jw_end(w);
  } else {
    csn_jw_str(w, a->instructions);
  }
  if (a->settings) {
    csn_jw_key(w, "settings");
    csn_jw_value(w, a->settings);
  }
  if (a->base_instructions.p) {
    csn_jw_key(w, "base_instructions");
    csn_jw_str(w, a->base_instructions);
  }
  csn_agent_write_capabilities(a, w);
  if (a->parent) { /* the rest belongs to the run */
    csn_jw_key(w, "bound_tools");
    csn_jw_arr(w);
    for (size_t i = 0; i < a->n_tools; i++)
      if (!a->tools[i].is_builtin)
        csn_jw_strz(w, a->tools[i].tool.name);
    csn_jw_end(w);
    csn_agent_write_sections(a, w);
    csn_jw_end(w);
    return;
  }
  if (a->ignores_agents_md) {
    csn_jw_key(w, "agents_md");
    csn_jw_bool(w, false);
  }
  if (a->manifest) {
    csn_jw_key(w, "manifest");
    csn_manifest_to_journal(a->manifest, w);
  }
  if (a->run_parent)
    member(w, "parent", a->run_parent); /* and its sandbox is that run's */
  if (a->box_name || (a->has_sandbox && !a->run_parent))
    csn_agent_sandbox_to_json(a, w);
  csn_agent_write_budget(a, w);
  csn_agent_write_outputs(a, w);
  csn_agent_write_sections(a, w);
  member(w, "folder", a->folder);
  csn_jw_end(w);
}
