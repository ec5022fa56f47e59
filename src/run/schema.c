/* SPDX-License-Identifier: Apache-2.0
 * schema.c - the JSON Schemas of agent.yaml and caisson.yaml, which are the
 * files agent.schema.json and project.schema.json beside this one.  The
 * readers in agent_file.c and project.c check by themselves; a test holds the
 * two against each other. */
#include "caisson/agent.h"
#include "schema_text.h"

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
