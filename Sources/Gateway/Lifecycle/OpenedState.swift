import Configuration
import Cryptography
import Glibc
import OAuth
import Primitives
import Store
import Transport

/// The store as a start finds it: opened, with a signing key where the authority needs one, and the used nonces.
struct OpenedState {
    let store: StateStore
    /// Empty where the store is away, or what was revoked cannot be read: it comes as news when it is back.
    let snapshot: StoreSnapshot
    /// What was revoked before the start; nil where it could not be read.
    let revocations: StoreNews?
    let replay: ReplayGuards
    let tokens: OpaqueTokens
    /// What nonces are remembered by where several gateways share the store.
    let nonceKey: [UInt8]
    /// What budgets of rate limits are known by there.
    let rateKey: [UInt8]
    /// What the nonces are made by that DPoP proofs must have.
    let proofNonceKey: Secret
    /// Why the store could not be asked.
    let fault: StoreError?

    /// - Parameter isAway: a drill: nothing is asked of the store.
    /// - Throws: where the state is the machine's own and cannot be used. A store elsewhere may be away: the gateway
    ///   serves what needs none.
    init(_ configuration: Configuration, isAway: Bool) throws(StartError) {
        let location = try StateStoreLocation(configuration.store)
        do throws(StoreError) {
            let secretsKey = try OpenedState.secretsKey(configuration)
            tokens = OpaqueTokens(key: try secretsKey.derived(for: "opaque tokens"))
            nonceKey = try secretsKey.derived(for: "oauth1 nonces").exposed
            rateKey = try secretsKey.derived(for: "rate limits").exposed
            proofNonceKey = try secretsKey.derived(for: "dpop nonces")
            let store = try StateStore(
                location: isAway ? .absent : location, secretsKey: secretsKey, mayBeAway: true)
            self.store = store
            guard !store.isShared, !isAway else {
                var fault: StoreError?
                // What was revoked counts whatever else cannot be read; and without it no token of ours is good.
                let revocations = OpenedState.attempt(&fault) { () throws(StoreError) in
                    try store.perform(.revocations(after: 0))
                }
                self.revocations = revocations
                snapshot =
                    revocations.flatMap { _ in
                        OpenedState.attempt(&fault) { () throws(StoreError) in
                            try OpenedState.makeKeyIfNeeded(configuration, store)
                            return try store.perform(.snapshot)
                        }
                    } ?? .empty
                self.fault = fault
                replay = ReplayGuards(configuration, key: nonceKey)
                return
            }
            try OpenedState.makeKeyIfNeeded(configuration, store)
            snapshot = try store.perform(.snapshot)
            revocations = try store.perform(.revocations(after: 0))
            replay = ReplayGuards(
                configuration, try store.perform(.beginRun), now: .now())
            fault = nil
        } catch {
            throw StartError(error)
        }
    }

    private static func attempt<Value>(
        _ fault: inout StoreError?, _ body: () throws(StoreError) -> Value
    ) -> Value? {
        do throws(StoreError) {
            return try body()
        } catch {
            fault = error
            return nil
        }
    }

    static func secretsKey(_ configuration: Configuration) throws(StoreError)
        -> SecretsKey
    {
        switch (configuration.secretsKeyFile, configuration.store) {
        case (let path?, _):
            return try SecretsKey.loadOrMake(path: path)
        case (nil, .sqlite(let path)):
            return try SecretsKey.loadOrMake(path: defaultKeyPath(besides: path))
        case (nil, .memory):
            // Nothing outlives the process, so neither need the key.
            return try SecretsKey.generate()
        case (nil, .redis):
            throw .keyFile(path: "", reason: "a fleet must share it: secrets { key_file FILE; }")
        }
    }

    /// `secrets.key` in the folder of the database.
    static func defaultKeyPath(besides database: String) -> String {
        guard let slash = database.lastIndex(of: "/") else { return "secrets.key" }
        return String(database[...slash]) + "secrets.key"
    }

    private static func makeKeyIfNeeded(
        _ configuration: Configuration, _ store: StateStore
    ) throws(StoreError) {
        guard let authority = configuration.authority else { return }
        guard try store.perform(.snapshot).keys.isEmpty else { return }
        // Of two gateways that start on a new store at once, one gets its key in.
        _ = try store.perform(
            .addFirstSigningKey(SigningKeyRecord.make(authority.signingAlgorithm)))
    }
}

extension StateStore {
    /// Opens the conf's store for a command beside the running gateway.
    public static func open(_ configuration: Configuration) throws(StartError) -> StateStore {
        let location = try StateStoreLocation(configuration.store)
        do throws(StoreError) {
            return try StateStore(
                location: location,
                secretsKey: try OpenedState.secretsKey(configuration))
        } catch {
            throw StartError(error)
        }
    }
}

extension StartError {
    /// The store cannot be used: 77 where the system denies it, 69 otherwise.
    public init(_ error: StoreError) {
        let isDenied =
            switch error {
            case .cannotOpen(let path, _), .keyFile(let path, _): StartError.isDenied(path)
            case .readOnly: true
            default: false
            }
        self.init(isDenied ? .permission : .unavailable, "store: \(error)")
    }

    private static func isDenied(_ path: String) -> Bool {
        if unsafe access(path, R_OK | W_OK) != 0, errno == EACCES { return true }
        // A file that is to be made needs a folder that may be written.
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        return unsafe access(folder.isEmpty ? "/" : folder, W_OK | X_OK) != 0 && errno == EACCES
    }
}

extension StateStoreLocation {
    /// Reads the files that a `store redis` names.
    init(_ configuration: StoreConfiguration) throws(StartError) {
        switch configuration {
        case .sqlite(let path): self = .sqlite(path: path)
        case .memory: self = .memory
        case .redis(let redis): self = .redis(try RedisLocation(redis))
        }
    }
}

extension RedisLocation {
    init(_ configuration: RedisConfiguration) throws(StartError) {
        var tls: TLSClientContext?
        if configuration.usesTLS {
            var settings = TLSClientContext.Settings()
            settings.authorities = try configuration.ca.map { path throws(StartError) in
                try NamedFile.read(path, limit: 16 << 20)
            }
            do throws(TLSError) {
                tls = try TLSClientContext(settings)
            } catch {
                throw StartError(.configuration, "store redis: tls: \(error)")
            }
        }
        self.init(
            addresses: configuration.addresses, sentinel: configuration.sentinel,
            username: configuration.username,
            password: try configuration.passwordFile.map { path throws(StartError) in
                try NamedFile.secret(path)
            }, tls: tls, database: configuration.database, prefix: configuration.prefix,
            timeout: configuration.timeout)
    }
}

extension SigningKeyRecord {
    /// A new key for the algorithm, under its RFC 7638 thumbprint, which a command line takes as it is: one in 64 begins
    /// with a hyphen.
    public static func make(
        _ algorithm: SigningAlgorithmName, activatesAt: WallTime? = nil
    ) throws(StoreError) -> SigningKeyRecord {
        do throws(CryptographyError) {
            let kind: PrivateKey.Kind =
                switch algorithm {
                case .es256: .p256
                case .eddsa: .ed25519
                case .rs256: .rsa2048
                }
            var key = try PrivateKey.generate(kind)
            while key.publicKey.thumbprint.hasPrefix("-") { key = try PrivateKey.generate(kind) }
            return SigningKeyRecord(
                kid: key.publicKey.thumbprint, algorithm: algorithm.rawValue,
                privateKeyPKCS8: try key.pkcs8DER(), createdAt: WallTime.now(),
                activatesAt: activatesAt)
        } catch {
            throw StoreError.unavailable(reason: "no signing key could be made: \(error)")
        }
    }
}
