/* SPDX-License-Identifier: Apache-2.0
 * The JSON of images: whatever comes, what is accepted is within the caps and
 * is text that C code may read. */
#include <assert.h>

#include "sandbox/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
check_list(const char **list)
{
  size_t n = 0;
  for (; list[n]; n++)
    continue;
  assert(n <= CSN_OCI_STRINGS_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(256u << 20);
  csn_str json = {(const char *)p, n};
  csn_oci_choice choice = {0};
  csn_oci_manifest manifest = {0};
  csn_image_config config = {0};
  csn_docker_image docker = {0};
  if (csn_oci_index_choose(a, json, CSN_STR(""), "amd64", &choice, NULL) == 0)
    assert(choice.name.n == 0 || choice.name.p);
  if (csn_oci_manifest_parse(a, json, &manifest, NULL) == 0)
    assert(manifest.n <= CSN_OCI_LAYERS_MAX);
  if (csn_image_config_parse(a, json, &config, NULL) == 0) {
    assert(config.n <= CSN_OCI_LAYERS_MAX && !memchr(config.user.p, '\0', config.user.n));
    check_list(config.environment);
    check_list(config.entrypoint);
    check_list(config.command);
    for (const char **v = config.environment; *v; v++)
      assert(strchr(*v, '=') > *v);
  }
  if (csn_docker_manifest_choose(a, json, CSN_STR(""), &docker, NULL) == 0)
    assert(docker.n <= CSN_OCI_LAYERS_MAX);
  return 0;
}
