/// What can go wrong with the state. Each prints as one clear line, without a secret in it.
public enum StoreError: Error, Equatable, Sendable {
    /// The file cannot be opened or made: missing folder, no permission, not a file, read-only folder.
    case cannotOpen(path: String, reason: String)
    /// The file is a sound database of some other program; it was left as it is.
    case foreignDatabase(path: String)
    /// A newer Gatehouse wrote the database; this one does not know its schema and left it as it is.
    case newerVersion(found: Int, known: Int)
    /// What was read is not what was written: a damaged file, or a sealed value that was changed or moved.
    case corrupt(reason: String)
    /// The secrets key does not open what is in this store.
    case wrongKey
    /// The file with the secrets key cannot be used.
    case keyFile(path: String, reason: String)
    /// No space on the disk. What was asked for did not happen; it heals when space returns.
    case full
    /// Another process held the database for too long, or too much is waiting here. Worth another try.
    case busy
    /// The database may be read, not written.
    case readOnly
    /// Any other failure of the system below.
    case unavailable(reason: String)
    /// Another running gateway has the database's replay protection; two would accept a nonce twice.
    case inUse(path: String)
    case clientExists(id: String)
    case unknownClient(id: String)
    /// Somebody else has changed it meanwhile. Worth another try, by what it is now.
    case clientChanged(id: String)
    case invalidClient(id: String, reason: String)
    case keyExists(kid: String)
    /// Nonces and ceilings belong to a run: between `beginRun` and `endRun`.
    case noRun
    /// Rates are counted by a store that several gateways share.
    case notShared
    /// There are clients or keys already where an export is to be put back.
    case notEmpty
    /// A line of an export is not what was written.
    case badExport(line: Int, reason: String)
    /// The store was closed.
    case closed
}

extension StoreError {
    /// A job waited for longer than the store's `timeout`.
    static let tooLate = StoreError.unavailable(reason: "no answer in time")

    /// Whether one item of a batch is to blame, and nothing was done for it.
    var isOfOneItem: Bool {
        switch self {
        case .corrupt, .noRun, .notShared: true
        default: false
        }
    }
}

extension StoreError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .cannotOpen(let path, let reason): "cannot open the database \(path): \(reason)"
        case .foreignDatabase(let path): "\(path) is a database of another program"
        case .newerVersion(let found, let known):
            "the database has version \(found), this program knows up to \(known)"
        case .corrupt(let reason): "the database is damaged: \(reason)"
        case .wrongKey: "the secrets key is not the one that the database was written with"
        case .keyFile(let path, let reason): "cannot use the secrets key file \(path): \(reason)"
        case .full: "no space left for the database"
        case .busy: "the database is busy"
        case .readOnly: "the database is read-only"
        case .unavailable(let reason): "the database is unavailable: \(reason)"
        case .inUse(let path): "another running gateway uses the database \(path)"
        case .clientExists(let id): "there is a client \(id) already"
        case .unknownClient(let id): "there is no client \(id)"
        case .clientChanged(let id): "the client \(id) was changed by somebody else meanwhile"
        case .invalidClient(let id, let reason): "the client \(id) cannot be stored: \(reason)"
        case .keyExists(let kid): "there is a signing key \(kid) already"
        case .noRun: "no run has begun on this store"
        case .notShared: "this store is one gateway's alone"
        case .notEmpty: "the store has clients or keys already; an export goes into an empty one"
        case .badExport(let line, let reason): "line \(line) of the export: \(reason)"
        case .closed: "the store is closed"
        }
    }
}
