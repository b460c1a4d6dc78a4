import Configuration
import Telemetry

/// What is to be proven of a request: the route's policy met with the credentials that the head carries. A worker and
/// `explain` both act on it, so that the choice is made in one place.
enum CredentialPlan: Equatable {
    /// Nothing: the route is open.
    case open
    /// The head carries nothing; a form body may still hold OAuth 1.0 parameters (RFC 5849 section 3.5.2), where the
    /// route takes them.
    case searchForm
    /// By either scheme of tokens.
    case bearer(PresentedToken)
    case oauth1
    /// The certificate on the connection: the request itself carries nothing that counts here.
    case certificate
    /// The token first, then the signature, of the same client.
    case both(PresentedToken)
    case refuse(Reason)

    /// - Parameters:
    ///   - hasCertificate: the client has shown one that leads to an authority. It belongs to the connection: what the
    ///     request itself carries goes before it, where the route takes that.
    ///   - mayHoldForm: the body may hold OAuth 1.0 parameters.
    init(
        _ policy: AuthenticationPolicy, _ credentials: PresentedCredentials,
        hasCertificate: Bool = false, mayHoldForm: Bool = false
    ) {
        let policy = policy.ofRequest
        if hasCertificate, policy.takesCertificate {
            let isElsewhere =
                switch credentials {
                case .none: mayHoldForm && policy.takesOAuth1
                case .bearer: policy.takes(.bearer)
                case .oauth1: policy.takes(.oauth1)
                // Only the field of a token can be so.
                case .malformed: policy.takes(.bearer)
                case .both, .duplicate: true
                }
            if !isElsewhere {
                self = .certificate
                return
            }
        }
        self =
            switch (policy, credentials) {
            case (.open, _): .open
            case (_, .none): .searchForm
            case (_, .malformed): .refuse(.malformedCredentials)
            // Which of two counts is nobody's choice.
            case (_, .duplicate), (.any, .both): .refuse(.duplicateCredentials)
            case (.any(let kinds), .bearer(let token)):
                kinds.contains(.bearer) ? .bearer(token) : .refuse(.noCredentials)
            case (.any(let kinds), .oauth1):
                kinds.contains(.oauth1) ? .oauth1 : .refuse(.noCredentials)
            case (.all(let kinds), .both(let token)):
                kinds.count > 1 ? .both(token) : .refuse(.duplicateCredentials)
            case (.all(let kinds), .bearer(let token)):
                kinds == [.bearer] ? .bearer(token) : .refuse(.noCredentials)
            case (.all(let kinds), .oauth1):
                kinds == [.oauth1] ? .oauth1 : .refuse(.noCredentials)
            }
    }
}

extension CredentialPlan {
    /// The refusal of a plan. A credential that was given and is unusable is told as such to who takes bearer tokens
    /// (RFC 6750 section 3.1).
    static func refusal(_ reason: Reason, on route: CompiledRoute) -> Refusal {
        // No challenge asks for a certificate, and a 401 must carry one (RFC 9110 section 15.5.2).
        if route.accepted == .certificate { return Refusal(reason, status: 403) }
        let isGiven = reason != .noCredentials
        let attempted: CredentialKind? =
            isGiven && route.accepted.contains(.bearer) ? .bearer : nil
        return Refusal(reason, attempted: attempted)
    }
}

extension AuthenticationPolicy {
    var takesOAuth1: Bool { takes(.oauth1) }
    var takesCertificate: Bool { takes(.certificate) }

    /// What the request itself must carry. Where a certificate must stand beside it, that is looked at once the rest is
    /// proven.
    fileprivate var ofRequest: AuthenticationPolicy {
        guard takesCertificateBeside, case .all(let kinds) = self else { return self }
        return .all(kinds.filter { $0 != .certificate })
    }

    /// Whether it wants a certificate together with something else.
    var takesCertificateBeside: Bool {
        guard case .all(let kinds) = self else { return false }
        return kinds.count > 1 && kinds.contains(.certificate)
    }

    var takesTokenAndSignature: Bool {
        guard case .all(let kinds) = self else { return false }
        return kinds.contains(.bearer) && kinds.contains(.oauth1)
    }

    func takes(_ kind: CredentialKind) -> Bool {
        switch self {
        case .any(let kinds), .all(let kinds): kinds.contains(kind)
        case .open: false
        }
    }
}
