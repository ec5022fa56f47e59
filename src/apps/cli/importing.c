/* SPDX-License-Identifier: Apache-2.0
 * importing.c - how far the import of an image is; see importing.h. */
#include "importing.h"

csn_str
cli_size(csn_arena *a, uint64_t bytes)
{
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = (double)bytes;
  size_t u = 0;
  for (; value >= 1024 && u + 1 < CSN_COUNT(units); u++)
    value /= 1024;
  return csn_arena_printf(a, u ? "%.1f %s" : "%.0f %s", value, units[u]);
}

static void
show(void *user, size_t layer, size_t layers, uint64_t done, uint64_t bytes)
{
  cli *c = user;
  unsigned percent = bytes ? (unsigned)(done * 100 / bytes) : 100;
  if (c->err_tty)
    cli_status(c, "importing layer %zu of %zu: %u%% of %.1f MiB", layer + 1, layers, percent,
               (double)bytes / (1 << 20));
}

csn_image_progress
cli_import_progress(cli *c)
{
  return (csn_image_progress){show, c};
}
