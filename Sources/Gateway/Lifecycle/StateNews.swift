import Store
import Synchronization

/// The newest state of the store: put in by its thread, taken out by the control thread.
final class StateNews: Sendable {
    private struct Box {
        var current: StoreSnapshot
        var isNew = false
    }

    private let box: Mutex<Box>

    init(_ state: StoreSnapshot) {
        box = Mutex(Box(current: state))
    }

    var current: StoreSnapshot { box.withLock { $0.current } }

    func put(_ state: StoreSnapshot) {
        box.withLock { $0 = Box(current: state, isNew: true) }
    }

    /// What has come since the last time, if anything.
    func take() -> StoreSnapshot? {
        box.withLock { box in
            guard box.isNew else { return nil }
            box.isNew = false
            return box.current
        }
    }
}
