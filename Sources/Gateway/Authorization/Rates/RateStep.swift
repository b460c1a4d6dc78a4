import Configuration
import Cryptography
import OAuth
import Primitives

/// Whom a budget is for.
enum RateSubject {
    /// Where the client is not known by name its address stands for it.
    case address(IPAddress?)
    /// - Parameter issuer: the block of the conf that vouches for it; `nil` for one of ours.
    case client(issuer: String?, [UInt8])

    init(_ principal: Principal?, address: IPAddress?) {
        guard let principal else {
            self = .address(address)
            return
        }
        self = .client(issuer: principal.outsideIssuer, principal.clientBytes)
    }
}

/// The limits that one request has to meet at once, with its budgets in them. One per worker; it keeps its buffers.
struct RateStep {
    /// In the order of their shards.
    private(set) var claims: [RateTable.Claim] = []
    private var bytes: [UInt8] = []

    var isEmpty: Bool { claims.isEmpty }

    mutating func begin() { claims.removeAll(keepingCapacity: true) }

    /// - Parameters:
    ///   - client: whose limits these are, or who asks.
    ///   - address: as the gateway believes it.
    ///   - route: what `per route` counts by; empty where there is no route, which such a limit is not about.
    mutating func add(
        _ rates: [CompiledRate], client: RateSubject, address: IPAddress?, route: [UInt8],
        to limiter: RateLimiter
    ) {
        for rate in rates {
            bytes.removeAll(keepingCapacity: true)
            bytes.append(contentsOf: rate.identity)
            var isOfAddress = false
            switch rate.limit.subject {
            case .address:
                isOfAddress = true
                append(address)
            case .client:
                if case .address = client { isOfAddress = true }
                append(client)
            case .route:
                if route.isEmpty { continue }
                bytes.append(contentsOf: route)
            }
            insert(limiter.claim(rate, bytes, isOfAddress: isOfAddress))
        }
    }

    private mutating func insert(_ claim: RateTable.Claim) {
        let shard = RateTable.shard(of: claim.key)
        var index = claims.count
        while index > 0, RateTable.shard(of: claims[index - 1].key) > shard { index -= 1 }
        claims.insert(claim, at: index)
    }

    private mutating func append(_ subject: RateSubject) {
        switch subject {
        case .address(let address): append(address)
        case .client(nil, let id):
            bytes.append(UInt8(ascii: "o"))
            bytes.append(contentsOf: id)
        case .client(let issuer?, let id):
            bytes.append(UInt8(ascii: "i"))
            bytes.append(contentsOf: issuer.utf8)
            // No name of a block has one.
            bytes.append(0)
            bytes.append(contentsOf: id)
        }
    }

    /// Of IPv6 the /64, which is one site's at least. All whose address is not known are one.
    private mutating func append(_ address: IPAddress?) {
        bytes.append(UInt8(ascii: "a"))
        let (number, count): (UInt64, Int) =
            switch address?.unmapped {
            case nil: (0, 0)
            case .v4(let value): (UInt64(value), 4)
            // Behind NAT64 (RFC 6052) all of IPv4 is one /96.
            case .v6(0x0064_FF9B_0000_0000, let low) where low >> 32 == 0: (low, 4)
            case .v6(let high, _): (high, 8)
            }
        for index in (0..<count).reversed() {
            bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(8 * index)))
        }
    }
}
