/* SPDX-License-Identifier: Apache-2.0
 * test_snapshots_sealed.c - a store of snapshots that is encrypted: it does all
 * that another does, tells nothing, and opens with its own keys only. */
#include <fcntl.h>
#include <ftw.h>

#include "sandbox/snap_place.h"
#include "store/vaults.h"

/* Opens the store of the place with these keys (NULL: with none). */
static int
open_with(struct place *p, const char *keys, csn_err *err)
{
  csn_auto(csn_vault_freep) csn_vault *v = keys ? vault_of(keys) : NULL;
  csn_snapshots_free(csn_steal(p->s));
  return csn_snapshots_open(&p->s, p->fd, v, err);
}

static void
begin_sealed(struct place *p, const char *keys)
{
  csn_err err;
  begin(p);
  OK(open_with(p, keys, &err), &err);
}

static void
tell(void *user, const char *line)
{
  printf("# %s\n", line);
  ++*(int *)user;
}

static int
problems(struct place *p)
{
  csn_err err;
  int told = 0, rc = csn_snapshots_verify(p->s, NULL, tell, &told, &err);
  OK(rc, &err);
  assert_int_equal(rc, told);
  return told;
}

/* ---- what can be read of it */

static csn_str sought[8];
static size_t n_sought, n_files;

static int
look_in(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  if (kind != FTW_F)
    return 0;
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  OK(csn_fd_read_all(fd, &text, &err), &err);
  csn_buf_addz(&text, path);
  n_files++;
  for (size_t i = 0; i < n_sought; i++)
    if (csn_str_find(csn_buf_str(&text), sought[i], 0) != SIZE_MAX)
      fail_msg("%s holds what no. %zu of them is", path, i);
  return 0;
}

TEST(neither_contents_nor_names_of_files_nor_digests_of_them_can_be_read)
{
  struct place p;
  begin_sealed(&p, KEY_A);
  csn_err err;
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const char *const *layers;
  char path[80], hex[65], tree_hex[65];
  write_file(p.from, "telling-name", "a text that nobody may read");
  csn_snapshot a = save(&p, "a");
  OK(csn_snapshot_tag(p.s, "a", "telling-tag", &err), &err);
  csn_digest d = csn_sha256_of(CSN_STR("a text that nobody may read"));
  csn_digest_hex(&d, hex);
  csn_digest_hex(&a.tree, tree_hex);
  const csn_str all_of[] = {CSN_STR("telling-name"),
                            CSN_STR("nobody may"),
                            CSN_STR("telling-tag"),
                            csn_cstr(hex),
                            csn_cstr(tree_hex),
                            csn_strn((const char *)d.b, 32),
                            csn_strn((const char *)a.tree.b, 32)};
  n_sought = CSN_COUNT(all_of);
  memcpy(sought, all_of, sizeof all_of);
  n_files = 0;
  /* A sandbox that begins with it sees its files, so they are there for as long. */
  OK(csn_snapshot_layers(p.s, NULL, &a, arena, &layers, &err), &err);
  assert_true(faccessat(p.s->unpacked, tree_hex, F_OK, 0) < 0);
  csn_snapshots_swept swept;
  OK(csn_snapshots_gc(p.s, NULL, &all, &swept, &err), &err);
  assert_int_equal(swept.layers, 1);
  snprintf(path, sizeof path, "%s/snapshots", p.path);
  assert_int_equal(nftw(path, look_in, 8, FTW_PHYS), 0);
  assert_int_equal(n_files, 4); /* the name, the pack, the mark, the lock */
  end(&p);
}

TEST(it_does_all_that_another_store_does)
{
  struct place p;
  begin_sealed(&p, KEY_A);
  csn_err err;
  csn_auto(csn_freep) csn_snapshot *list = NULL;
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const char *const *layers, *const *again;
  size_t n = 0;
  char text[4000];
  fill(text, sizeof text);
  write_file(p.from, "f", text);
  csn_snapshot a = save(&p, "a");
  write_file(p.from, "g", "more");
  save(&p, "b");
  OK(open_with(&p, KEY_A, &err), &err);
  OK(csn_snapshot_list(p.s, &list, &n, &err), &err);
  assert_int_equal(n, 2);
  assert_int_equal(problems(&p), 0);
  restore_into(&p, "b", "to");
  csn_auto(csn_closep) int to = folder_in(p.fd, "to");
  has_file(to, "f", text);
  has_file(to, "g", "more");
  OK(csn_snapshot_layers(p.s, NULL, &a, arena, &layers, &err), &err);
  OK(csn_snapshot_layers(p.s, NULL, &a, arena, &again, &err), &err);
  assert_string_equal(layers[0], again[0]);
  assert_int_equal(problems(&p), 0);
  csn_auto(csn_closep) int tar = openat(p.fd, "t", O_RDWR | O_CREAT, 0600);
  OK(csn_snapshot_export(p.s, NULL, &a, tar, &err), &err);
  assert_int_equal(lseek(tar, 0, SEEK_SET), 0);
  csn_snapshot c;
  csn_snapshot_saving how = {.name = "c"};
  OK(csn_snapshot_import(p.s, NULL, &how, tar, &c, &err), &err);
  assert_int_equal(c.files, 1);
  OK(csn_snapshot_remove(p.s, "a", &err), &err);
  OK(csn_snapshot_remove(p.s, "b", &err), &err);
  csn_snapshots_swept swept;
  OK(csn_snapshots_gc(p.s, NULL, &all, &swept, &err), &err);
  OK(open_with(&p, KEY_A, &err), &err);
  restore_into(&p, "c", "to2");
  OK(csn_snapshots_gc(p.s, NULL, &none, &swept, &err), &err);
  assert_int_equal(csn_packs_bytes(p.s->packs), 0);
  end(&p);
}

/* ---- keys */

TEST(it_opens_with_its_own_keys_only)
{
  struct place p;
  begin_sealed(&p, KEY_A);
  csn_err err;
  write_file(p.from, "f", "1");
  save(&p, "a");
  assert_int_equal(open_with(&p, KEY_B, &err), CSN_E_DENIED);
  assert_non_null(strstr(err.msg, "not among the keys"));
  assert_int_equal(open_with(&p, NULL, &err), CSN_E_DENIED);
  assert_non_null(strstr(err.msg, "snapshots.keys"));
  OK(open_with(&p, KEY_A KEY_B, &err), &err);
  write_file(p.from, "f", "2");
  save(&p, "b"); /* with the newer key */
  restore_into(&p, "a", "to");
  csn_auto(csn_closep) int to = folder_in(p.fd, "to");
  has_file(to, "f", "1");
  assert_int_equal(problems(&p), 0);
  assert_int_equal(open_with(&p, KEY_B, &err), CSN_E_DENIED);
  OK(open_with(&p, KEY_A, &err), &err);
  csn_snapshot r;
  assert_int_equal(csn_snapshot_find(p.s, "b", &r, &err), CSN_E_DENIED);
  assert_int_equal(problems(&p), 3); /* the record, its tree, its file */
  end(&p);
}

TEST(a_store_that_was_not_encrypted_is_not_mixed)
{
  struct place p;
  begin(&p);
  csn_err err;
  write_file(p.from, "f", "1");
  save(&p, "a");
  assert_int_equal(open_with(&p, KEY_A, &err), CSN_E_DENIED);
  assert_non_null(strstr(err.msg, "not encrypted"));
  OK(open_with(&p, NULL, &err), &err); /* nothing has happened to it */
  restore_into(&p, "a", "to");
  csn_snapshots_swept swept;
  OK(csn_snapshots_gc(p.s, NULL, &none, &swept, &err), &err);
  OK(open_with(&p, KEY_A, &err), &err); /* it is empty, so it may become one */
  end(&p);
}

TEST(records_that_were_swapped_or_altered_are_found)
{
  struct place p;
  begin_sealed(&p, KEY_A);
  csn_err err;
  csn_snapshot r;
  write_file(p.from, "f", "1");
  save(&p, "a");
  write_file(p.from, "f", "2");
  save(&p, "b");
  csn_auto(csn_buf_finip) csn_buf a = CSN_BUF(1 << 16);
  OK(csn_file_read(p.s->names, "a", &a, &err), &err);
  OK(csn_file_write(p.s->names, "b", csn_buf_str(&a), 0600, false, &err), &err);
  assert_int_equal(csn_snapshot_find(p.s, "b", &r, &err), CSN_E_DENIED);
  assert_int_equal(problems(&p), 1);
  csn_snapshots_swept swept; /* what b needs is not known */
  assert_true(csn_snapshots_gc(p.s, NULL, &all, &swept, &err) < 0);
  for (size_t at = 0; at < a.n; at += 7) {
    a.p[at] ^= 1;
    OK(csn_file_write(p.s->names, "a", csn_buf_str(&a), 0600, false, &err), &err);
    assert_int_equal(csn_snapshot_find(p.s, "a", &r, &err), CSN_E_DENIED);
    a.p[at] ^= 1;
  }
  end(&p);
}

RUN_TESTS("sandbox/snapshots_sealed",
          RUN(neither_contents_nor_names_of_files_nor_digests_of_them_can_be_read),
          RUN(it_does_all_that_another_store_does), RUN(it_opens_with_its_own_keys_only),
          RUN(a_store_that_was_not_encrypted_is_not_mixed),
          RUN(records_that_were_swapped_or_altered_are_found))
