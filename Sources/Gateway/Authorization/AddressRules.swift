import Configuration
import Primitives

/// `allow` and `deny` lines of a route: the first that matches decides.
struct AddressRules: Sendable {
    private let rules: [AddressRule]
    private let hasAllow: Bool

    init(_ rules: [AddressRule]) {
        self.rules = rules
        hasAllow = rules.contains(where: \.allows)
    }

    /// - Parameter address: the client's; `nil` for a unix socket. Where there are rules, an address that is
    ///   not known is denied: nothing shows that it is one of those allowed.
    func permits(_ address: IPAddress?) -> Bool {
        guard !rules.isEmpty else { return true }
        guard let address else { return false }
        for rule in rules where rule.prefixes.contains(where: { $0.contains(address) }) {
            return rule.allows
        }
        return !hasAllow
    }
}
