/* SPDX-License-Identifier: Apache-2.0
 * schema.c - the JSON Schemas of agent.yaml and caisson.yaml.  The readers in
 * agent_file.c and project.c check by themselves; a test holds the two
 * against each other. */
#include "caisson/agent.h"

#define TEXT "{\"type\":\"string\"}"
#define MAYBE "{\"type\":[\"string\",\"null\"]}"
#define LIST "{\"type\":[\"array\",\"null\"]}"
#define BITS "{\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":7}"
#define ENTRY "{\"$ref\":\"#/$defs/entry\"}"
/* One kind of manifest entry: rules of its own and members of its own beside
 * those of all kinds. */
#define ENTRY_KIND(name, rules, members)                                                           \
  "{\"additionalProperties\":false" rules ",\"properties\":{\"type\":{\"const\":\"" name "\"},"    \
  "\"description\":" MAYBE ",\"ephemeral\":{\"type\":[\"boolean\",\"null\"]},"                     \
  "\"is_dir\":{\"type\":[\"boolean\",\"null\"]},\"group\":{\"type\":[\"object\",\"null\"]},"       \
  "\"permissions\":{\"type\":[\"object\",\"null\"],\"additionalProperties\":false,\"properties\":" \
  "{"                                                                                              \
  "\"owner\":" BITS ",\"group\":" BITS ",\"other\":" BITS ","                                      \
  "\"directory\":{\"type\":[\"boolean\",\"null\"]}}}," members "}}"

static const char agent_schema[] =
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
    "\"title\":\"agent.yaml\",\"type\":\"object\",\"additionalProperties\":false,"
    "\"required\":[\"name\"],\"not\":{\"required\":[\"instructions\",\"instructions_file\"]"
    "},"
    "\"properties\":{"
    "\"name\":{\"type\":\"string\",\"minLength\":1},"
    "\"model\":{\"type\":\"string\",\"description\":\"PREFIX/NAME: openai/ (Responses), "
    "chat/ "
    "(Chat "
    "Completions), script:FILE, replay:FILE or a provider of caisson.yaml\"},"
    "\"instructions\":" TEXT ",\"instructions_file\":" TEXT ","
    "\"settings\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"temperature\":{\"type\":\"number\"},\"top_p\":{\"type\":\"number\"},"
    "\"max_tokens\":{\"type\":\"integer\",\"minimum\":1},"
    "\"tool_choice\":{\"type\":[\"string\",\"object\"]},"
    "\"parallel_tool_calls\":{\"type\":\"boolean\"},\"reasoning\":{\"type\":\"object\"},"
    "\"verbosity\":{\"enum\":[\"low\",\"medium\",\"high\"]},\"store\":{\"type\":"
    "\"boolean\"},"
    "\"truncation\":{\"enum\":[\"auto\",\"disabled\"]},\"metadata\":{\"type\":\"object\"},"
    "\"retry\":{\"type\":\"object\",\"properties\":{\"max_retries\":{\"type\":\"integer\","
    "\"minimum\":0},"
    "\"backoff\":{\"type\":\"object\"}}},"
    "\"extra_body\":{\"type\":\"object\"}}},"
    "\"capabilities\":{\"type\":\"array\",\"items\":{\"enum\":[\"filesystem\",\"shell\"]},"
    "\"default\":[\"filesystem\",\"shell\"]},"
    "\"manifest\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"version\":{\"const\":1},\"root\":{\"type\":\"string\",\"pattern\":\"^/\"},"
    "\"entries\":{\"type\":\"object\",\"additionalProperties\":" ENTRY "},"
    "\"environment\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"value\":{\"type\":\"object\"}}},"
    "\"users\":" LIST ",\"groups\":" LIST ",\"extra_path_grants\":" LIST ","
    "\"remote_mount_command_allowlist\":" LIST "}},"
    "\"sandbox\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"backend\":{\"enum\":[\"jail\",\"local\",\"fake\"],\"default\":\"jail\"},"
    "\"rootfs\":{\"type\":\"string\",\"description\":\"host (the default) or a folder with "
    "a root "
    "file system\"},"
    "\"environment\":{\"type\":\"object\",\"additionalProperties\":" TEXT "}}},"
    "\"limits\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"turns\":{\"type\":\"integer\",\"minimum\":1,\"default\":40},"
    "\"wall\":{\"type\":[\"string\",\"integer\"],\"pattern\":\"^[0-9]+[smh]?$\","
    "\"minimum\":1},"
    "\"wall_ms\":{\"type\":\"integer\",\"minimum\":0},"
    "\"output\":{\"type\":\"integer\",\"minimum\":1,\"default\":10000}}},"
    "\"outputs\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"additionalProperties\":false,"
    "\"required\":[\"path\"],\"properties\":{\"path\":{\"type\":\"string\",\"minLength\":1}"
    ","
    "\"to\":" TEXT "}}},"
    "\"folder\":{\"type\":\"string\",\"description\":\"what relative paths start from; the "
    "file's "
    "own folder when absent\"}},"
    "\"$defs\":{\"entry\":{\"type\":\"object\",\"required\":[\"type\"],\"oneOf\":"
    "[" ENTRY_KIND("dir", , "\"children\":{\"type\":\"object\",\"additionalProperties\":" ENTRY "}") "," ENTRY_KIND(
        "file",
        ",\"oneOf\":[{\"required\":[\"content\"]},{\"required\":["
        "\"content_base64\"]}]",
        "\"content\":" TEXT
        ",\"content_base64\":" TEXT) "," ENTRY_KIND("local_file", ",\"required\":[\"src\"]",
                                                    "\"src\":" TEXT) "," ENTRY_KIND("local_"
                                                                                    "dir",
                                                                                    ,
                                                                                    "\"src"
                                                                                    "\""
                                                                                    ":" MAYBE) "," ENTRY_KIND("git_repo",
                                                                                                              ",\"required\":[\"repo\",\"ref\"]",
                                                                                                              "\"host\":" TEXT
                                                                                                              ",\"repo\":" TEXT
                                                                                                              ",\"ref\":" TEXT
                                                                                                              ",\"subpath\":" MAYBE) "]}}}";

static const char project_schema[] =
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
    "\"title\":\"caisson.yaml\",\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"model\":{\"type\":\"string\",\"description\":\"the model of agents that name none\"},"
    "\"providers\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"object\","
    "\"additionalProperties\":false,\"required\":[\"base_url\"],\"properties\":{"
    "\"api\":{\"enum\":[\"chat\",\"responses\"],\"default\":\"chat\"},"
    "\"base_url\":{\"type\":\"string\",\"pattern\":\"^https?://\"},"
    "\"key_env\":{\"type\":\"string\",\"description\":\"the variable that holds the key\"},"
    "\"custom_tools\":{\"type\":\"boolean\"},"
    "\"timeout\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":86400,\"description\":\"seconds "
    "of one call\"}}}}}}";

const char *
csn_agent_schema(void)
{
  return agent_schema;
}

const char *
csn_project_schema(void)
{
  return project_schema;
}
