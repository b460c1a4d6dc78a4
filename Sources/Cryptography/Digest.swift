import COpenSSL
import Primitives

/// A hash of the SHA families (FIPS 180-4). SHA-1 is here for OAuth 1.0's HMAC-SHA1 and RSA-SHA1
/// alone.
public enum DigestAlgorithm: Sendable, Hashable, CaseIterable {
    case sha1
    case sha256
    case sha384
    case sha512

    public var byteCount: Int {
        switch self {
        case .sha1: 20
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    /// Whether the library offers it; a crippled OpenSSL configuration may not, which `serve`
    /// reports at its start.
    public var isAvailable: Bool { unsafe implementation != nil }

    /// The longest digest there is, in bytes.
    static let maximumByteCount = 64

    /// OpenSSL's name for it.
    var name: StaticString {
        switch self {
        case .sha1: "SHA1"
        case .sha256: "SHA256"
        case .sha384: "SHA384"
        case .sha512: "SHA512"
        }
    }

    /// The implementation, fetched once per process: the implicit fetch costs more than the hash.
    /// Never freed, and only read, so that all threads may share it.
    var implementation: OpaquePointer? {
        switch self {
        case .sha1: unsafe FetchedDigests.sha1
        case .sha256: unsafe FetchedDigests.sha256
        case .sha384: unsafe FetchedDigests.sha384
        case .sha512: unsafe FetchedDigests.sha512
        }
    }
}

private enum FetchedDigests {
    nonisolated(unsafe) static let sha1 = unsafe fetch(.sha1)
    nonisolated(unsafe) static let sha256 = unsafe fetch(.sha256)
    nonisolated(unsafe) static let sha384 = unsafe fetch(.sha384)
    nonisolated(unsafe) static let sha512 = unsafe fetch(.sha512)

    private static func fetch(_ algorithm: DigestAlgorithm) -> OpaquePointer? {
        unsafe algorithm.name.withCString { unsafe EVP_MD_fetch(nil, $0, nil) }
    }
}

public enum Digest {
    /// Hashes `bytes` and makes `output` hold the digest, nothing else; its capacity is kept.
    ///
    /// - Precondition: the library offers the algorithm (`DigestAlgorithm.isAvailable`, asked at
    ///   the start).
    public static func hash(
        _ bytes: Span<UInt8>, _ algorithm: DigestAlgorithm, into output: inout [UInt8]
    ) {
        output.resize(to: algorithm.byteCount)
        let status = unsafe bytes.withUnsafeBufferPointer { input in
            unsafe output.withUnsafeMutableBufferPointer { result in
                unsafe EVP_Digest(
                    input.baseAddress, input.count, result.baseAddress, nil,
                    algorithm.implementation, nil)
            }
        }
        // Never go on with a digest of zeros: it would equal that of other bytes.
        precondition(status == 1, "the library offers no \(algorithm)")
    }

    /// The digest of `bytes`.
    public static func hash(_ bytes: Span<UInt8>, _ algorithm: DigestAlgorithm) -> [UInt8] {
        var output: [UInt8] = []
        hash(bytes, algorithm, into: &output)
        return output
    }
}

extension [UInt8] {
    /// Makes the array hold `count` zeros, in the memory it has where that is enough.
    mutating func resize(to count: Int) {
        removeAll(keepingCapacity: true)
        append(contentsOf: repeatElement(0, count: count))
    }
}
