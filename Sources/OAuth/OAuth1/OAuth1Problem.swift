/// What a client is told of a refusal: `oauth_problem`, the Problem Reporting extension of OAuth Core 1.0, in a form or as
/// parameters of the OAuth challenge.
///
/// Which of consumer, token and signature was wrong it never tells: all three are `invalid_credentials`. Times, nonces and
/// body hashes are judged after the signature, so that only who has signed hears of them.
public struct OAuth1Problem: Sendable, Equatable {
    public static let mediaType = OAuth1TokenReply.mediaType

    /// `oauth_problem` and what goes with it: names, and values of unreserved characters and spaces at most.
    public let parameters: [(name: String, value: String)]

    /// - Parameter acceptableTimestamps: seconds since 1970; told where the timestamp was refused.
    public init(_ error: OAuth1Error, acceptableTimestamps: ClosedRange<Int64>? = nil) {
        var parameters = [(name: "oauth_problem", value: error.problem)]
        switch error {
        case .missingParameter(let name):
            parameters.append(("oauth_parameters_absent", name))
        case .bodyHashMissing:
            parameters.append(("oauth_parameters_absent", "oauth_body_hash"))
        case .bodyHashMismatch:
            parameters.append(("oauth_parameters_rejected", "oauth_body_hash"))
        case .timestampInvalid:
            parameters.append(("oauth_parameters_rejected", "oauth_timestamp"))
        case .unsupportedVersion:
            parameters.append(("oauth_acceptable_versions", "1.0-1.0"))
        case .timestampOutOfWindow:
            guard let range = acceptableTimestamps else { break }
            let text = "\(range.lowerBound)-\(range.upperBound)"
            parameters.append(("oauth_acceptable_timestamps", text))
        case .malformed, .duplicateParameter, .twoLocations, .tooManyParameters,
            .unsupportedSignatureMethod, .unknownConsumer, .unknownToken, .badSignature,
            .nonceReused, .plaintextNeedsTLS, .plaintextNotAllowed:
            break
        }
        self.parameters = parameters
    }

    /// The answer's body, of the media type `application/x-www-form-urlencoded`.
    public var body: [UInt8] {
        var body: [UInt8] = []
        for (index, parameter) in parameters.enumerated() {
            if index > 0 { body.append(0x26) }
            body.append(contentsOf: parameter.name.utf8)
            body.append(0x3D)
            PercentCoding.encode(Array(parameter.value.utf8).span, into: &body)
        }
        return body
    }

    public static func == (left: OAuth1Problem, right: OAuth1Problem) -> Bool {
        left.body == right.body
    }
}

extension OAuth1Error {
    /// The value of `oauth_problem`.
    fileprivate var problem: String {
        switch self {
        case .missingParameter, .bodyHashMissing: "parameter_absent"
        case .malformed, .duplicateParameter, .twoLocations, .tooManyParameters, .timestampInvalid,
            .bodyHashMismatch:
            "parameter_rejected"
        case .unsupportedVersion: "version_rejected"
        case .unsupportedSignatureMethod, .plaintextNeedsTLS, .plaintextNotAllowed:
            "signature_method_rejected"
        case .timestampOutOfWindow: "timestamp_refused"
        case .nonceReused: "nonce_used"
        case .unknownConsumer, .unknownToken, .badSignature: "invalid_credentials"
        }
    }
}
