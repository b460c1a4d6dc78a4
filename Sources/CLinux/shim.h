// What the Glibc module leaves out or Swift cannot import: epoll, eventfd, and the GNU calls that need
// a declaration. Only wrappers stand here; _GNU_SOURCE is not set, since it would change the C library's own types
// under the Glibc module.
#ifndef GATEHOUSE_CLINUX_SHIM_H
#define GATEHOUSE_CLINUX_SHIM_H

#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// epoll_event's data is a union; the loop stores one 64-bit number in it.
static inline int gh_epoll_control(int poller, int operation, int target, uint32_t interest, uint64_t data) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = interest;
    event.data.u64 = data;
    return epoll_ctl(poller, operation, target, &event);
}

static inline int gh_epoll_add(int poller, int target, uint32_t interest, uint64_t data) {
    return gh_epoll_control(poller, EPOLL_CTL_ADD, target, interest, data);
}

static inline int gh_epoll_modify(int poller, int target, uint32_t interest, uint64_t data) {
    return gh_epoll_control(poller, EPOLL_CTL_MOD, target, interest, data);
}

static inline int gh_epoll_remove(int poller, int target) {
    return gh_epoll_control(poller, EPOLL_CTL_DEL, target, 0, 0);
}

static inline int gh_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline uint64_t gh_epoll_data(const struct epoll_event *event) { return event->data.u64; }

static inline int gh_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

extern int accept4(int, struct sockaddr *__restrict, socklen_t *__restrict, int);

static inline int gh_accept(int listener, struct sockaddr_storage *peer, socklen_t *length) {
    return accept4(listener, (struct sockaddr *)peer, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static inline int gh_stream_socket(int family) {
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static inline int gh_set_option(int descriptor, int level, int name, int value) {
    return setsockopt(descriptor, level, name, &value, sizeof value);
}

// The C library's own are points where a thread may be cancelled, which none of ours ever is: each call would allow that
// and forbid it again.
static inline ssize_t gh_send(int descriptor, const void *bytes, size_t count) {
    return syscall(SYS_sendto, descriptor, bytes, count, MSG_NOSIGNAL, NULL, 0);
}

static inline ssize_t gh_receive(int descriptor, void *bytes, size_t count) {
    return syscall(SYS_recvfrom, descriptor, bytes, count, 0, NULL, NULL);
}

static inline ssize_t gh_peek(int descriptor, void *bytes, size_t count) {
    return recv(descriptor, bytes, count, MSG_PEEK);
}

// A copy that is not handed on to other programs.
static inline int gh_duplicate(int descriptor) { return fcntl(descriptor, F_DUPFD_CLOEXEC, 3); }

static inline int gh_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? -1 : fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

// Whether a byte or an end waits on the socket, without taking it.
static inline int gh_is_readable(int descriptor) {
    char byte;
    return recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

// The number of processors this process may run on (its affinity mask), at least 1.
static inline int gh_processors(void) {
    unsigned long mask[128];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int count = 0;
    for (long word = 0; word < bytes / (long)sizeof mask[0]; word++) count += __builtin_popcountl(mask[word]);
    return count < 1 ? 1 : count;
}

extern int pthread_setname_np(unsigned long thread, const char *name);
extern unsigned long pthread_self(void);

// Names the calling thread; at most 15 bytes count.
static inline void gh_name_thread(const char *name) { (void)pthread_setname_np(pthread_self(), name); }

extern const char *strerrordesc_np(int);

// Fills the caller's buffer: strerror itself is not safe on several threads.
static inline int gh_error_text(int code, char *text, size_t size) {
    const char *known = strerrordesc_np(code);
    if (known == NULL || strlen(known) >= size) return -1;
    strcpy(text, known);
    return 0;
}

static inline int gh_disable_fast_bins(void) { return mallopt(M_MXFAST, 0); }

#endif
