import Configuration
import OAuth
import Primitives
import Store

/// What the commands that change nothing decide with: clients and keys, what was revoked, and the tokens of the store.
public struct StoreFacts: Sendable {
    /// What is known of a token by its text.
    enum Found {
        case token(StoredToken)
        /// It was never issued, has been used up or has ended: which of them nobody can say.
        case none
        case undecided(String)
    }

    public let state: StoreSnapshot
    let revocations: RevocationList
    /// What could not be read.
    public let faults: [StoreFault]
    private let store: StateStore?
    private let isKnown: Bool

    private init(isKnown: Bool) {
        state = .empty
        revocations = RevocationList()
        faults = []
        store = nil
        self.isKnown = isKnown
    }

    /// The store is the memory of the running gateway, which alone knows.
    public static let unknown = StoreFacts(isKnown: false)

    /// There is no store yet.
    public static let empty = StoreFacts(isKnown: true)

    /// - Throws: when it cannot be read.
    public init(of store: StateStore) throws(StoreError) {
        state = try store.perform(.snapshot)
        var revocations = RevocationList()
        let revoked = try store.perform(.revocations(after: 0))
        revocations.add(revoked.revocations)
        self.revocations = revocations
        faults = state.faults + revoked.faults
        self.store = store
        isKnown = true
    }

    /// Looks for a token of ours as the gateway does: one that was never issued without a look into the store.
    func find(
        _ kind: OpaqueTokens.Kind, _ text: Span<UInt8>, _ configuration: Configuration,
        at now: WallTime
    ) -> Found {
        guard isKnown else { return .undecided(StoreFacts.onlyTheGateway) }
        guard let store else { return .none }
        do {
            let tokens = try OpaqueTokens.of(configuration)
            guard tokens.kind(of: text) == kind else { return .none }
            let id = OpaqueTokens.identifier(of: text)
            return try store.perform(.token(id: id, now: now)).map(Found.token) ?? .none
        } catch {
            return .undecided("the store could not be asked: \(error)")
        }
    }

    /// Whether tokens may have been revoked of which nothing is known here.
    var mayMissRevocations: Bool { !isKnown }

    private static var onlyTheGateway: String {
        "what the token grants lies in the memory of the running gateway (store memory)"
    }
}
