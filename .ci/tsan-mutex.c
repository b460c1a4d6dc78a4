// Tells ThreadSanitizer about Swift's Mutex.
//
// Synchronization.Mutex is a futex. Its fast path is compiled into our code, and the sanitizer sees it; where threads
// meet, the lock is taken inside libswiftSynchronization, which is not instrumented, and what happened before under
// the lock looks unordered. Preloaded, this repeats the two slow calls and says what they order. It does
// nothing in a program without the sanitizer.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

SWIFT void gatehouse_lock_slow(uint32_t thread, SELF void *mutex) __asm__(LOCK);
SWIFT void gatehouse_unlock_slow(SELF void *mutex) __asm__(UNLOCK);

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

SWIFT void gatehouse_lock_slow(uint32_t thread, SELF void *mutex) {
    SWIFT void (*lock)(uint32_t, SELF void *) = (SWIFT void (*)(uint32_t, SELF void *))next(LOCK);
    lock(thread, mutex);
    if (__tsan_acquire) __tsan_acquire(mutex);
}

SWIFT void gatehouse_unlock_slow(SELF void *mutex) {
    SWIFT void (*unlock)(SELF void *) = (SWIFT void (*)(SELF void *))next(UNLOCK);
    if (__tsan_release) __tsan_release(mutex);
    unlock(mutex);
}
