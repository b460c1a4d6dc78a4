/// Why a request's OAuth 1.0 credential does not hold (RFC 5849 section 3.2).
public enum OAuth1Error: Error, Equatable, Sendable {
    /// The Authorization field, the query or the form cannot be read.
    case malformed
    case missingParameter(String)
    case duplicateParameter
    /// Protocol parameters in more than one of field, query and form (section 3.5).
    case twoLocations
    case tooManyParameters
    case unsupportedVersion
    case unsupportedSignatureMethod
    case timestampInvalid
    case unknownConsumer
    case unknownToken
    case badSignature
    case timestampOutOfWindow
    case nonceReused
    case plaintextNeedsTLS
    case plaintextNotAllowed
    case bodyHashMismatch
    case bodyHashMissing

    /// 400 for what the client's program got wrong, 401 for what was not proven (section 3.2).
    public var status: Int {
        switch self {
        case .malformed, .missingParameter, .duplicateParameter, .twoLocations,
            .tooManyParameters, .unsupportedVersion, .unsupportedSignatureMethod,
            .timestampInvalid:
            400
        case .unknownConsumer, .unknownToken, .badSignature, .timestampOutOfWindow, .nonceReused,
            .plaintextNeedsTLS, .plaintextNotAllowed, .bodyHashMismatch, .bodyHashMissing:
            401
        }
    }
}

/// RFC 5849 section 3.4, and the SHA-2 variants that servers added.
public enum OAuth1SignatureMethod: String, Sendable, CaseIterable {
    case hmacSHA1 = "HMAC-SHA1"
    case hmacSHA256 = "HMAC-SHA256"
    case hmacSHA512 = "HMAC-SHA512"
    case rsaSHA1 = "RSA-SHA1"
    case rsaSHA256 = "RSA-SHA256"
    case rsaSHA512 = "RSA-SHA512"
    case plaintext = "PLAINTEXT"
}
