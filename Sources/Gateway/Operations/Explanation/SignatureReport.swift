import OAuth
import Primitives

/// An OAuth 1.0 signature as `explain` tells of it: never the right one, never a secret.
enum SignatureReport {
    static func lines(
        _ diagnosis: OAuth1Diagnosis, _ claim: OAuth1Claim, now: WallTime
    ) -> [String] {
        var lines = [
            "OAuth 1.0, consumer \(diagnosis.consumerKey), \(diagnosis.method.rawValue)"
                + (diagnosis.token.map { ", token \($0)" } ?? ", no token")
        ]
        for parameter in diagnosis.parameters {
            lines.append("parameter (\(parameter.source)): \(parameter.name) = \(parameter.value)")
        }
        lines.append("normalised parameters: \(diagnosis.normalizedParameters)")
        lines.append("base string URI: \(diagnosis.baseStringURI)")
        lines.append("base string: \(diagnosis.baseString)")
        if let timestamp = claim.timestamp {
            let distance = now.seconds.subtractingReportingOverflow(timestamp).partialValue
            lines.append(
                "timestamp \(timestamp): "
                    + (distance >= 0 ? "\(distance) s ago" : "\(distance.magnitude) s ahead"))
        }
        return lines + outcome(diagnosis)
    }

    private static func outcome(_ diagnosis: OAuth1Diagnosis) -> [String] {
        switch diagnosis.outcome {
        case .matches:
            return ["signature: matches"]
        case .unknownConsumer:
            return [
                diagnosis.token == nil
                    ? "signature: cannot be judged, the consumer is not known here"
                    : "signature: cannot be judged, no access token exists in this version"
            ]
        case .unexplained:
            return [
                "signature: does not match",
                "likeliest cause: another secret, or a request that was changed on its way",
            ]
        case .mistaken(let mistakes):
            var lines = ["signature: does not match the base string above"]
            for mistake in mistakes {
                lines.append("likeliest cause: \(mistake.rawValue): \(mistake.explanation)")
                if let hint = mistake.hint { lines.append("hint: \(hint)") }
            }
            return lines
        }
    }

    static func sentence(_ error: OAuth1Error) -> String {
        switch error {
        case .malformed: "the parameters cannot be read"
        case .missingParameter(let name): "\(name) is missing"
        case .duplicateParameter: "a protocol parameter is repeated"
        case .twoLocations: "protocol parameters stand in more than one place"
        case .tooManyParameters: "too many parameters"
        case .unsupportedVersion: "oauth_version is not 1.0"
        case .unsupportedSignatureMethod: "the signature method is not accepted here"
        case .timestampInvalid: "oauth_timestamp is not a positive whole number"
        case .unknownConsumer: "the consumer (or its token) is not known"
        case .unknownToken: "the token is not known"
        case .badSignature: "the signature does not match"
        case .timestampOutOfWindow: "the timestamp is too far from now"
        case .nonceReused: "the nonce was used before"
        case .plaintextNeedsTLS: "PLAINTEXT needs TLS"
        case .plaintextNotAllowed: "PLAINTEXT is not allowed for this client"
        case .bodyHashMismatch: "oauth_body_hash is not that of the body"
        case .bodyHashMissing: "oauth_body_hash is required here"
        }
    }
}
