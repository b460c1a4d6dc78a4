import Glibc
import Primitives

/// The signals that the program obeys. They are blocked in every thread; the control thread waits for them.
enum Signals {
    enum Order {
        case terminate
        case reload
        case reopen
        case tellCounts
        case none
    }

    private static var watched: sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2] { unsafe sigaddset(&set, number) }
        return set
    }

    /// Before any thread is started, so that all inherit it. A write to a closed socket reports, it does not kill.
    static func block() {
        var set = watched
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    /// Waits at most `duration` for the next one.
    static func wait(_ duration: Duration) -> Order {
        var set = watched
        var limit = timespec()
        let nanoseconds = Int(clamping: duration.wholeNanoseconds)
        limit.tv_sec = nanoseconds / 1_000_000_000
        limit.tv_nsec = nanoseconds % 1_000_000_000
        switch unsafe sigtimedwait(&set, nil, &limit) {
        case SIGTERM, SIGINT: return .terminate
        case SIGHUP: return .reload
        case SIGUSR1: return .reopen
        case SIGUSR2: return .tellCounts
        default: return .none
        }
    }
}

enum Descriptors {
    /// Raises the soft limit on open files to the hard one: every connection needs one, each proxied request two.
    static func raiseLimit() {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return
        }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
