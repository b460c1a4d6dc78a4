import Configuration
import HTTP
import Primitives
import Telemetry

/// The leave to forward one request, by one route, for one principal. Only `decide` in this file makes one,
/// and the writer of upstream requests takes nothing less: what forwards unchecked does not compile.
public struct Permit: Sendable {
    public let route: CompiledRoute
    /// `nil` on an open route, whatever credential came along: none was looked at.
    public let principal: Principal?

    fileprivate init(route: CompiledRoute, principal: Principal?) {
        self.route = route
        self.principal = principal
    }
}

/// What Authorization says of a request.
public enum Decision: Sendable {
    case permit(Permit)
    case refuse(Refusal)
}

extension Permit {
    /// Judges a request whose route is known and whose credential was proven or is not needed.
    ///
    /// In this order: the client's address, the method, whether the proof is one that the route takes, then
    /// every `require` line in the order of the conf. The first that fails is the reason. Whatever is not
    /// known (no address, no principal, no claim) does not meet what is asked of it.
    ///
    /// - Parameters:
    ///   - principal: from Authentication; `nil` when no credential was asked for.
    ///   - methodName: the method's bytes.
    ///   - clientAddress: `nil` for a unix socket.
    public static func decide(
        _ principal: Principal?, on route: CompiledRoute, method: Method,
        methodName: Span<UInt8>, from clientAddress: IPAddress?
    ) -> Decision {
        guard route.addressRules.permits(clientAddress) else {
            return .refuse(Refusal(.addressDenied))
        }
        guard route.takes(method, name: methodName) else {
            var refusal = Refusal(.methodNotAllowed)
            refusal.allow = route.methods.allow
            return .refuse(refusal)
        }
        if route.isOpen, route.requirements.isEmpty {
            return .permit(Permit(route: route, principal: nil))
        }
        guard let principal, route.rule.isMet(by: principal.schemes) else {
            return .refuse(Refusal(.noCredentials))
        }
        for requirement in route.requirements {
            guard let reason = requirement.failure(principal, method, methodName) else { continue }
            var refusal = Refusal(reason)
            // Another token would do: RFC 8705 section 3 wants `invalid_token`.
            refusal.status = reason == .proofMismatch ? 401 : 403
            if principal.schemes.contains(.bearer) {
                refusal.attempted = .bearer
            } else if principal.schemes.contains(.oauth1) {
                refusal.attempted = .oauth1
            } else if reason == .proofMismatch, route.accepted == .certificate {
                refusal.status = 403
            }
            if reason == .insufficientScope {
                refusal.neededScopes = route.neededScopes(method, methodName)
            }
            return .refuse(refusal)
        }
        return .permit(Permit(route: route, principal: principal))
    }
}

extension CompiledRoute {
    /// Every scope that the route requires for a method, separated by spaces: the `scope` of a challenge
    /// (RFC 6750 section 3).
    func neededScopes(_ method: Method, _ name: Span<UInt8>) -> [UInt8] {
        var needed: [[UInt8]] = []
        for case .scopes(let scopes, let methods) in requirements
        where methods.contains(method, name: name) {
            for scope in scopes where !needed.contains(scope) { needed.append(scope) }
        }
        return Array(needed.joined(separator: [0x20]))
    }
}
