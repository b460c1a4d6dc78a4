import Configuration
import HTTP
import OAuth
import Telemetry

/// One `require` line, its names as bytes.
enum CompiledRequirement: Sendable {
    case scopes([[UInt8]], on: MethodSet)
    case audience([UInt8])
    case claim(name: String, values: [[UInt8]])
    /// - Parameter issuer: the block of the conf that vouches for them; `nil`: they are our own.
    case clients([[UInt8]], issuer: String?)
    case certificateBound
    case dpop

    init(_ requirement: Requirement) {
        switch requirement {
        case .scopes(let scopes, let methods):
            // What is required of GET is required of HEAD, which tells the same (RFC 9110 section 9.3.2).
            self = .scopes(
                scopes.map { Array($0.utf8) }, on: MethodSet(methods, coveringHead: true))
        case .audience(let audience):
            self = .audience(Array(audience.utf8))
        case .claim(let name, let values):
            self = .claim(name: name, values: values.map { Array($0.utf8) })
        case .clients(let clients, let issuer):
            self = .clients(clients.map { Array($0.utf8) }, issuer: issuer)
        case .certificateBound:
            self = .certificateBound
        case .dpop:
            self = .dpop
        }
    }

    /// Why the principal does not meet the requirement; `nil` when it does, or the method is not concerned.
    func failure(_ principal: Principal, _ method: Method, _ name: Span<UInt8>) -> Reason? {
        switch self {
        case .scopes(let scopes, let methods):
            guard methods.contains(method, name: name) else { return nil }
            for scope in scopes where !principal.holds(scope: scope) {
                return .insufficientScope
            }
            return nil
        case .audience(let audience):
            return principal.isMeant(for: audience) ? nil : .wrongAudience
        case .claim(let name, let values):
            // OAuth 1.0 has no claims: what asks for one is not met.
            guard let claim = principal.token?.claim(name) else { return .claimMismatch }
            return Self.claim(claim, isAnyOf: values) ? nil : .claimMismatch
        case .clients(let clients, let issuer):
            // A name says nothing without whoever gave it: another issuer's client may have any.
            return principal.outsideIssuer == issuer && clients.contains(where: principal.isClient)
                ? nil : .clientNotAllowed
        case .certificateBound:
            // That the certificate is there was seen when the token was proven.
            return principal.token?.certificateThumbprint == nil ? .proofMismatch : nil
        case .dpop:
            // And so was its proof.
            return principal.token?.keyThumbprint == nil ? .proofMismatch : nil
        }
    }

    /// The line as the conf has it, for `explain`.
    var text: String {
        func words(_ list: [[UInt8]]) -> String {
            list.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        }
        return switch self {
        case .scopes(let scopes, _): "require scope \(words(scopes))"
        case .audience(let audience): "require audience \(words([audience]))"
        case .claim(let name, let values): "require claim \(name) = \(words(values))"
        case .clients(let clients, let issuer):
            "require client \(words(clients)) \(issuer.map { "of \($0)" } ?? "(our own)")"
        case .certificateBound: "require certificate_bound"
        case .dpop: "require dpop"
        }
    }

    /// Whether the requirement is about requests of this method.
    func concerns(_ method: Method, _ name: Span<UInt8>) -> Bool {
        if case .scopes(_, let methods) = self {
            methods.contains(method, name: name)
        } else {
            true
        }
    }

    private static func claim(
        _ claim: VerifiedToken.ClaimValue, isAnyOf values: [[UInt8]]
    ) -> Bool {
        switch claim {
        case .string(let text), .number(let text):
            values.contains(Array(text.utf8))
        case .bool(let value):
            values.contains(Array((value ? "true" : "false").utf8))
        case .strings(let texts):
            texts.contains { values.contains(Array($0.utf8)) }
        }
    }
}
