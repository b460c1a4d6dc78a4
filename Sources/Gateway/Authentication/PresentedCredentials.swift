import HTTP
import OAuth

/// By which scheme of Authorization an access token is shown.
public enum TokenScheme: Sendable {
    /// RFC 6750 section 2.1
    case bearer
    /// RFC 9449 section 7.1: with a proof in the DPoP field.
    case dpop
}

/// An access token as the head carries it.
struct PresentedToken: Equatable {
    /// Of the head's bytes.
    let range: Range<Int>
    let scheme: TokenScheme
}

/// The credentials that a request's head carries, found but not proven.
enum PresentedCredentials: Equatable {
    case none
    case bearer(PresentedToken)
    case oauth1
    /// One of each, where a route wants both.
    case both(PresentedToken)
    /// Two Authorization fields: which one counts is nobody's choice.
    case duplicate
    /// A token's field without a token.
    case malformed(TokenScheme)

    /// Looks at the Authorization fields and at protocol parameters in the query. A bearer token anywhere else is not
    /// one (RFC 9700 section 4.3.2): no form, query or cookie is searched.
    static func find(in head: RequestHead, _ oauth1: OAuth1Verifier) -> PresentedCredentials {
        var token: PresentedToken?
        var (count, signatures) = (0, 0)
        var malformed: TokenScheme?
        let lines = head.lines
        for index in lines.indices where lines[index].id == .authorization {
            let line = lines[index]
            count += 1
            if OAuth1Verifier.isOAuth(head, line) {
                signatures += 1
            } else if let scheme = scheme(head, line.value.range) {
                token = self.token(head, line.value.range, scheme)
                if token == nil { malformed = scheme }
            }
        }
        // Two fields, whatever their schemes: an upstream might believe the one that we did not look at.
        if count > 1 { return .duplicate }
        if signatures == 0, oauth1.detectsInQuery(head) { signatures = 1 }
        if let malformed { return .malformed(malformed) }
        switch (token, signatures) {
        case (let token?, 0): return .bearer(token)
        case (let token?, _): return .both(token)
        case (nil, 0): return .none
        case (nil, _): return .oauth1
        }
    }

    /// How a token is shown in the field; `nil` where it is none of ours.
    private static func scheme(_ head: RequestHead, _ range: Range<Int>) -> TokenScheme? {
        let value = head.span(range)
        if isNamed("bearer", value) { return .bearer }
        return isNamed("dpop", value) ? .dpop : nil
    }

    /// Whether the field's scheme is of this name, which is ASCII in lower case.
    private static func isNamed(_ name: StaticString, _ value: Span<UInt8>) -> Bool {
        let count = name.utf8CodeUnitCount
        guard value.count >= count else { return false }
        for index in 0..<count where unsafe value[index] | 0x20 != name.utf8Start[index] {
            return false
        }
        return value.count == count || value[count] == 0x20 || value[count] == 0x09
    }

    /// The scheme, 1*SP, a token68 (RFC 6750 section 2.1, RFC 9449 section 7.1), and nothing behind it.
    private static func token(
        _ head: RequestHead, _ range: Range<Int>, _ scheme: TokenScheme
    ) -> PresentedToken? {
        let value = head.span(range)
        let nameEnd = scheme == .bearer ? 6 : 4
        var start = nameEnd
        while start < value.count, value[start] == 0x20 { start += 1 }
        guard start > nameEnd, start < value.count else { return nil }
        var end = ASCII.firstOutsideToken68(value, from: start)
        guard end > start else { return nil }
        // Padding, and nothing but padding.
        while end < value.count, value[end] == 0x3D { end += 1 }
        guard end == value.count else { return nil }
        return PresentedToken(
            range: range.lowerBound + start..<range.upperBound, scheme: scheme)
    }

    /// By which scheme a token was shown, or was meant to be.
    var tokenScheme: TokenScheme {
        switch self {
        case .bearer(let token), .both(let token): token.scheme
        case .malformed(let scheme): scheme
        case .none, .oauth1, .duplicate: .bearer
        }
    }
}
