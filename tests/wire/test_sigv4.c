/* SPDX-License-Identifier: Apache-2.0
 *
 * Signatures: the vectors that AWS published for Signature Version 4, and one
 * of this program's own requests as botocore signs it. */
#include "wire/sigv4.h"

#include "check.h"

#define H(n, v)                                                                                    \
  {                                                                                                \
    CSN_STR_INIT(n), CSN_STR_INIT(v)                                                               \
  }
#define HOST H("Host", "example.amazonaws.com")
#define DATE H("X-Amz-Date", "20150830T123600Z")

static const struct row {
  const char *name, *method, *path, *query, *body;
  csn_header headers[8];
  size_t n;
  const char *names, *signature;
} rows[] = {
    {"get-vanilla",
     "GET",
     "/",
     "",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-header-key-duplicate",
     "GET",
     "/",
     "",
     "",
     {HOST, H("My-Header1", "value2"), H("My-Header1", "value2"), H("My-Header1", "value1"), DATE},
     5,
     "host;my-header1;x-amz-date",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
    {"get-header-value-order",
     "GET",
     "/",
     "",
     "",
     {HOST, H("My-Header1", "value4"), H("My-Header1", "value1"), H("My-Header1", "value3"),
      H("My-Header1", "value2"), DATE},
     6,
     "host;my-header1;x-amz-date",
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
    {"get-header-value-trim",
     "GET",
     "/",
     "",
     "",
     {HOST, H("My-Header1", " value1"), H("My-Header2", " \"a   b   c\""), DATE},
     4,
     "host;my-header1;my-header2;x-amz-date",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"get-unreserved",
     "GET",
     "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
     "",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    {"get-utf8",
     "GET",
     "/\xe1\x88\xb4",
     "",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"get-vanilla-empty-query-key",
     "GET",
     "/",
     "Param1=value1",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
    {"get-vanilla-query-order-key-case",
     "GET",
     "/",
     "Param2=value2&Param1=value1",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-vanilla-query-unreserved",
     "GET",
     "/",
     "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz="
     "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
    {"get-vanilla-utf8-query",
     "GET",
     "/",
     "%E1%88%B4=bar",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
    {"post-vanilla",
     "POST",
     "/",
     "",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"post-header-key-sort",
     "POST",
     "/",
     "",
     "",
     {HOST, H("My-Header1", "value1"), DATE},
     3,
     "host;my-header1;x-amz-date",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
    {"post-header-value-case",
     "POST",
     "/",
     "",
     "",
     {HOST, H("My-Header1", "VALUE1"), DATE},
     3,
     "host;my-header1;x-amz-date",
     "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
    {"post-vanilla-query",
     "POST",
     "/",
     "Param1=value1",
     "",
     {HOST, DATE},
     2,
     "host;x-amz-date",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
    {"post-x-www-form-urlencoded",
     "POST",
     "/",
     "",
     "Param1=value1",
     {H("Content-Type", "application/x-www-form-urlencoded"), HOST, DATE},
     3,
     "content-type;host;x-amz-date",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
    {"post-x-www-form-urlencoded-parameters",
     "POST",
     "/",
     "",
     "Param1=value1",
     {H("Content-Type", "application/x-www-form-urlencoded; charset=utf8"), HOST, DATE},
     3,
     "content-type;host;x-amz-date",
     "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
};

static const csn_aws_keys keys = {CSN_STR_INIT("AKIDEXAMPLE"),
                                  CSN_STR_INIT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                                  {NULL, 0}};

TEST(the_published_vectors_are_signed_as_published)
{
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    const struct row *r = &rows[i];
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4096), want = CSN_BUF(4096);
    csn_err err;
    csn_sigv4 rq = {.method = csn_cstr(r->method),
                    .path = csn_cstr(r->path),
                    .query = csn_cstr(r->query),
                    .region = CSN_STR("us-east-1"),
                    .service = CSN_STR("service"),
                    .headers = r->headers,
                    .n_headers = r->n,
                    .payload = csn_sha256_of(csn_cstr(r->body)),
                    .date = CSN_STR("20150830T123600Z")};
    OK(csn_sigv4_sign(&rq, &keys, &out, &err), &err);
    csn_buf_addf(&want,
                 "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                 "SignedHeaders=%s, Signature=%s",
                 r->names, r->signature);
    if (strcmp(out.p, want.p) != 0)
      fail_msg("%s: got %s", r->name, out.p);
  }
}

/* The examples of S3's own documentation: a path is signed as it is sent. */
TEST(requests_of_s3_are_signed_as_its_documentation_shows)
{
#define S3 H("host", "examplebucket.s3.amazonaws.com")
#define NOW H("x-amz-date", "20130524T000000Z")
#define NOTHING                                                                                    \
  H("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
  static const struct {
    const char *method, *path, *query, *body;
    csn_header headers[5];
    size_t n;
    const char *signature;
  } examples[] = {
      {"GET",
       "/test.txt",
       "",
       "",
       {S3, H("Range", "bytes=0-9"), NOTHING, NOW},
       4,
       "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
      {"PUT",
       "/test%24file.text",
       "",
       "Welcome to Amazon S3.",
       {H("date", "Fri, 24 May 2013 00:00:00 GMT"), S3,
        H("x-amz-content-sha256",
          "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        NOW, H("x-amz-storage-class", "REDUCED_REDUNDANCY")},
       5,
       "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
      {"GET",
       "/",
       "max-keys=2&prefix=J",
       "",
       {S3, NOTHING, NOW},
       3,
       "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
  };
  static const csn_aws_keys own = {CSN_STR_INIT("AKIAIOSFODNN7EXAMPLE"),
                                   CSN_STR_INIT("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
                                   {NULL, 0}};
  for (size_t i = 0; i < CSN_COUNT(examples); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4096);
    csn_err err;
    csn_sigv4 rq = {.method = csn_cstr(examples[i].method),
                    .path = csn_cstr(examples[i].path),
                    .query = csn_cstr(examples[i].query),
                    .region = CSN_STR("us-east-1"),
                    .service = CSN_STR("s3"),
                    .headers = examples[i].headers,
                    .n_headers = examples[i].n,
                    .payload = csn_sha256_of(csn_cstr(examples[i].body)),
                    .date = CSN_STR("20130524T000000Z")};
    OK(csn_sigv4_sign(&rq, &own, &out, &err), &err);
    assert_true(csn_str_ends(csn_buf_str(&out), csn_cstr(examples[i].signature)));
  }
}

TEST(a_time_is_written_as_aws_wants_it)
{
  char date[CSN_AWS_DATE];
  csn_aws_date(1440938160, date);
  assert_string_equal(date, "20150830T123600Z");
}

TEST(what_cannot_be_signed_is_refused)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4096), query = CSN_BUF(4096);
  csn_err err;
  csn_sigv4 rq = {.method = CSN_STR("GET"), .path = CSN_STR("/"), .date = CSN_STR("2015")};
  assert_int_equal(csn_sigv4_sign(&rq, &keys, &out, &err), CSN_E_INVALID);
  rq.date = CSN_STR("20150830T123600Z");
  csn_header none = {{NULL, 0}, {NULL, 0}};
  rq.headers = &none;
  rq.n_headers = 1;
  assert_int_equal(csn_sigv4_sign(&rq, &keys, &out, &err), CSN_E_INVALID);
  rq.n_headers = 0;
  for (int i = 0; i < 65; i++)
    csn_buf_addf(&query, "a=%d&", i);
  rq.query = csn_buf_str(&query);
  assert_int_equal(csn_sigv4_sign(&rq, &keys, &out, &err), CSN_E_LIMIT);
}

RUN_TESTS("wire/sigv4", RUN(the_published_vectors_are_signed_as_published),
          RUN(requests_of_s3_are_signed_as_its_documentation_shows),
          RUN(a_time_is_written_as_aws_wants_it), RUN(what_cannot_be_signed_is_refused))
