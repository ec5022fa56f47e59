/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - a test runner in a page.  A check that fails prints one line,
 * "file:line: expression: expected E, got G", and the test goes on. */
#ifndef CHECK_H
#define CHECK_H

#define CHECK_INT(got, want) check_int(__FILE__, __LINE__, #got, (got), (want))
#define CHECK_STR(got, want) check_str(__FILE__, __LINE__, #got, (got), (want))

void check_int(const char *file, int line, const char *what, long long got, long long want);
void check_str(const char *file, int line, const char *what, const char *got, const char *want);

/* Runs one test and counts it as passed or failed. */
void check_run(const char *name, void (*test)(void));
#define RUN(test) check_run(#test, test)

/* Each file of tests has one of these. */
void money_tests(void);
void table_tests(void);
void ledger_tests(void);
void stock_tests(void);
void report_tests(void);

#endif
