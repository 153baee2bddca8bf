#ifndef ABN_TEST_SUPPORT_H
#define ABN_TEST_SUPPORT_H

/// Bytes that the program holds on the heap now, mapped blocks included; -1 where the C library
/// does not tell.
long long abn_test_heap_bytes(void);

/// fork(), which Swift does not import. The caller has one thread, or knows what it does.
int abn_test_fork(void);

#endif
