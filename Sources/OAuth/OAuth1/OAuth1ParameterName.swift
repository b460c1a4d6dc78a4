/// The protocol parameters that a request is judged by (RFC 5849 section 3.1, and the extensions for body hashes and for
/// callbacks).
enum OAuth1ParameterName: Int, CaseIterable {
    case consumerKey, signature, signatureMethod, timestamp, nonce, version, token, bodyHash
    case callback, verifier

    static let count = 10

    var text: StaticString {
        switch self {
        case .consumerKey: "oauth_consumer_key"
        case .signature: "oauth_signature"
        case .signatureMethod: "oauth_signature_method"
        case .timestamp: "oauth_timestamp"
        case .nonce: "oauth_nonce"
        case .version: "oauth_version"
        case .token: "oauth_token"
        case .bodyHash: "oauth_body_hash"
        case .callback: "oauth_callback"
        case .verifier: "oauth_verifier"
        }
    }

    /// Which of them a decoded name is; `nil`: none.
    static func lookup(_ name: Span<UInt8>) -> OAuth1ParameterName? {
        switch name.count {
        case 11: first(of: .nonce, .token, name)
        case 13: first(of: .version, nil, name)
        case 14: first(of: .callback, .verifier, name)
        case 15:
            first(of: .signature, .timestamp, name) ?? first(of: .bodyHash, nil, name)
        case 18: first(of: .consumerKey, nil, name)
        case 22: first(of: .signatureMethod, nil, name)
        default: nil
        }
    }

    private static func first(
        of one: OAuth1ParameterName, _ other: OAuth1ParameterName?, _ name: Span<UInt8>
    ) -> OAuth1ParameterName? {
        if one.text.equals(name) { return one }
        if let other, other.text.equals(name) { return other }
        return nil
    }
}
