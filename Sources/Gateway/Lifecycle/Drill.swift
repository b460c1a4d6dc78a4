import Configuration

/// What `gatehouse serve --without` takes for away, so that operators can see how the gateway fares without it.
public struct Drill: Sendable {
    /// Names of `issuer` and `introspection` blocks: nobody answers for them.
    public var issuers: Set<String> = []
    /// Clients and keys of the store are not known, nothing is remembered in it.
    public var isStoreAway = false

    public init() {}

    /// Reads the words behind `--without`: `store`, and `issuer NAME` any number of times.
    public init(words: [String]) throws(StartError) {
        var rest = words[...]
        while let kind = rest.popFirst() {
            switch kind {
            case "issuer":
                guard let name = rest.popFirst() else {
                    throw StartError(.usage, "--without issuer needs the issuer's name")
                }
                issuers.insert(name)
            case "store":
                isStoreAway = true
            default:
                throw StartError(
                    .usage, "--without \(kind): expected --without store or --without issuer NAME")
            }
        }
    }

    /// Whether the conf has all that is to be away, and would ask it.
    func check(_ configuration: Configuration) throws(StartError) {
        for name in issuers.sorted() where configuration.introspection?.name != name {
            guard let issuer = configuration.issuers.first(where: { $0.name == name }) else {
                throw StartError(.usage, "--without issuer \(name): the conf has no such issuer")
            }
            guard issuer.jwksFile == nil else {
                throw StartError(
                    .usage,
                    "--without issuer \(name): its keys are in a file, so it is never asked")
            }
        }
    }
}
