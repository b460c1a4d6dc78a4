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
        _ rule: CredentialRule, _ credentials: PresentedCredentials,
        hasCertificate: Bool = false, mayHoldForm: Bool = false
    ) {
        let rule = rule.ofRequest
        if hasCertificate, rule.takesCertificate {
            let isElsewhere =
                switch credentials {
                case .none: mayHoldForm && rule.takesOAuth1
                case .bearer: rule.kinds.contains(.bearer)
                case .oauth1: rule.kinds.contains(.oauth1)
                // Only the field of a token can be so.
                case .malformed: rule.kinds.contains(.bearer)
                case .both, .duplicate: true
                }
            if !isElsewhere {
                self = .certificate
                return
            }
        }
        self =
            switch (rule.mode, credentials) {
            case (.open, _): .open
            case (_, .none): .searchForm
            case (_, .malformed): .refuse(.malformedCredentials)
            // Which of two counts is nobody's choice.
            case (_, .duplicate), (.any, .both): .refuse(.duplicateCredentials)
            case (.any, .bearer(let token)):
                rule.kinds.contains(.bearer) ? .bearer(token) : .refuse(.noCredentials)
            case (.any, .oauth1):
                rule.kinds.contains(.oauth1) ? .oauth1 : .refuse(.noCredentials)
            case (.all, .both(let token)):
                rule.takesTokenAndSignature ? .both(token) : .refuse(.duplicateCredentials)
            case (.all, .bearer(let token)):
                rule.kinds == .bearer ? .bearer(token) : .refuse(.noCredentials)
            case (.all, .oauth1):
                rule.kinds == .oauth1 ? .oauth1 : .refuse(.noCredentials)
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

/// A route's `authenticate` as each request is held to it: plain bits, where the configuration has lists.
struct CredentialRule: Sendable, Equatable {
    enum Mode {
        case open
        /// One of the kinds suffices.
        case any
        /// Every one must hold and name the same client.
        case all
    }

    let mode: Mode
    let kinds: CredentialSet

    init(_ policy: AuthenticationPolicy) {
        kinds = CredentialSet(policy)
        switch policy {
        case .open: mode = .open
        case .any: mode = .any
        case .all: mode = .all
        }
    }

    private init(all kinds: CredentialSet) {
        mode = .all
        self.kinds = kinds
    }

    var takesOAuth1: Bool { kinds.contains(.oauth1) }
    var takesCertificate: Bool { kinds.contains(.certificate) }

    /// What the request itself must carry. Where a certificate must stand beside it, that is looked at once the rest is
    /// proven.
    fileprivate var ofRequest: CredentialRule {
        takesCertificateBeside ? CredentialRule(all: kinds.subtracting(.certificate)) : self
    }

    /// Whether it wants a certificate together with something else.
    var takesCertificateBeside: Bool {
        mode == .all && takesCertificate && kinds != .certificate
    }

    var takesTokenAndSignature: Bool {
        mode == .all && kinds.isSuperset(of: [.bearer, .oauth1])
    }

    /// Whether what was proven is what the route asks for. An open route asks for nothing, and nobody is proven there.
    func isMet(by proven: CredentialSet) -> Bool {
        switch mode {
        case .open: false
        case .any: !proven.isDisjoint(with: kinds)
        case .all: !kinds.isEmpty && proven.isSuperset(of: kinds)
        }
    }
}
