/* SPDX-License-Identifier: Apache-2.0
 * Users and groups: from files that may be anybody's work, and from wishes. */
#include "sandbox/accounts.h"

#include "check.h"

static csn_accounts *
make(csn_accounts_wish w)
{
  csn_accounts *a = NULL;
  csn_err err;
  w.home = "/home/user";
  OK(csn_accounts_make(&a, &w, &err), &err);
  return a;
}

static const char image_passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
                                   "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
                                   "node:x:1000:1000::/home/node:/bin/bash\n"
                                   "broken\n::::\nhuge:x:70000:1:::\nminus:x:-1:1:::\n"
                                   "cut:x:7";
static const char image_group[] =
    "root:x:0:\nwww-data:x:33:\nstaff:x:50:www-data,node\nnode:x:1000:\n";

TEST(the_usual_accounts_are_root_user_and_nobody)
{
  csn_auto(csn_accounts_freep) csn_accounts *a = make((csn_accounts_wish){0});
  STR_EQ(csn_accounts_passwd(a), "root:x:0:0:root:/root:/bin/false\n"
                                 "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
                                 "user:x:1000:1000::/home/user:/bin/sh\n");
  STR_EQ(csn_accounts_group(a), "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nuser:x:1000:\n");
  assert_int_equal(csn_accounts_main(a)->uid, 1000);
  assert_string_equal(csn_accounts_main(a)->home, "/home/user");
}

TEST(an_images_accounts_are_kept_and_user_1000_is_whoever_it_says)
{
  csn_auto(csn_accounts_freep) csn_accounts *a =
      make((csn_accounts_wish){.passwd = csn_cstr(image_passwd), .group = csn_cstr(image_group)});
  STR_EQ(csn_accounts_passwd(a), "root:x:0:0:root:/root:/bin/bash\n"
                                 "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
                                 "node:x:1000:1000::/home/user:/bin/bash\n");
  assert_string_equal(csn_accounts_main(a)->name, "node");
  assert_int_equal(csn_accounts_main(a)->n_groups, 1);
  assert_int_equal(csn_accounts_main(a)->groups[0], 50);
}

TEST(who_commands_are_is_found_by_name_and_number)
{
  static const struct {
    const char *who;
    unsigned uid, gid;
  } rows[] = {{"www-data", 33, 33},       {"33", 33, 33},       {"33:50", 33, 50},
              {"www-data:staff", 33, 50}, {"2000", 2000, 2000}, {"2000:7", 2000, 7},
              {"alice", 1001, 1001},      {"node", 1000, 1000}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_accounts_freep) csn_accounts *a = make((csn_accounts_wish){
        .passwd = csn_cstr(image_passwd), .group = csn_cstr(image_group), .user = rows[i].who});
    assert_int_equal(csn_accounts_main(a)->uid, rows[i].uid);
    assert_int_equal(csn_accounts_main(a)->gid, rows[i].gid);
  }
  csn_auto(csn_accounts_freep) csn_accounts *a = make((csn_accounts_wish){.user = "alice"});
  assert_int_equal(csn_accounts_main(a)->uid, 1000); /* the first one is user 1000 */
  assert_non_null(strstr(csn_accounts_passwd(a).p, "alice:x:1000:1000::/home/user:/bin/sh\n"));
}

TEST(users_and_groups_that_were_asked_for_get_numbers)
{
  const char *users[] = {"bob", "user", "bob", NULL}, *members[] = {"bob", "eve", "user", NULL};
  const csn_sandbox_group groups[] = {{"devs", members}, {"empty", NULL}};
  csn_auto(csn_accounts_freep) csn_accounts *a =
      make((csn_accounts_wish){.users = users, .groups = groups, .n_groups = 2});
  csn_account bob;
  csn_err err;
  OK(csn_accounts_find(a, "bob", &bob, &err), &err);
  assert_int_equal(bob.uid, 1001);
  assert_int_equal(bob.n_groups, 1);
  assert_string_equal(bob.home, "/tmp");
  assert_non_null(strstr(csn_accounts_group(a).p, "devs:x:1002:bob,eve,user\n"));
  assert_non_null(strstr(csn_accounts_group(a).p, "empty:x:1004:\n"));
  assert_int_equal(csn_accounts_main(a)->groups[0], bob.groups[0]);
}

TEST(root_and_what_is_no_name_are_refused)
{
  static const struct {
    const char *who;
    int code;
  } rows[] = {
      {"root", CSN_E_INVALID},      {"0", CSN_E_INVALID},     {"1000:0", CSN_E_INVALID},
      {"user:root", CSN_E_INVALID}, {"a b", CSN_E_INVALID},   {"-x", CSN_E_INVALID},
      {"", CSN_E_INVALID},          {"65536", CSN_E_INVALID}, {"user:none", CSN_E_NOT_FOUND},
      {"a\nb", CSN_E_INVALID}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_accounts *a = NULL;
    csn_err err;
    csn_accounts_wish w = {.user = rows[i].who, .home = "/h"};
    int rc = csn_accounts_make(&a, &w, &err);
    if (rc != rows[i].code)
      fail_msg("%s: %d", rows[i].who, rc);
    const char *users[] = {"x:y", NULL};
    w = (csn_accounts_wish){.users = users, .home = "/h"};
    assert_int_equal(csn_accounts_make(&a, &w, &err), CSN_E_INVALID);
  }
  /* What an image says and cannot be is user 1000. */
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_accounts_freep) csn_accounts *a =
        make((csn_accounts_wish){.user = rows[i].who, .may_fall_back = true});
    assert_int_equal(csn_accounts_main(a)->uid, 1000);
  }
}

TEST(a_huge_file_of_accounts_is_cut_not_swallowed)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  for (int i = 0; i < 9000; i++)
    csn_buf_addf(&text, "u%d:x:%d:%d:::\n", i, i % 60000, i % 60000);
  csn_accounts_wish w = {.passwd = csn_buf_str(&text), .home = "/h", .user = "new"};
  csn_accounts *a = NULL;
  csn_err err;
  assert_int_equal(csn_accounts_make(&a, &w, &err), CSN_E_LIMIT);
}

RUN_TESTS("sandbox/accounts", RUN(the_usual_accounts_are_root_user_and_nobody),
          RUN(an_images_accounts_are_kept_and_user_1000_is_whoever_it_says),
          RUN(who_commands_are_is_found_by_name_and_number),
          RUN(users_and_groups_that_were_asked_for_get_numbers),
          RUN(root_and_what_is_no_name_are_refused),
          RUN(a_huge_file_of_accounts_is_cut_not_swallowed))
