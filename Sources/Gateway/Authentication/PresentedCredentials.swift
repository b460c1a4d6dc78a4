import HTTP
import OAuth

/// The credentials that a request's head carries, found but not proven.
enum PresentedCredentials: Equatable {
    case none
    /// The bearer token's range in the head's bytes.
    case bearer(Range<Int>)
    case oauth1
    /// One of each, where a route wants both.
    case both(Range<Int>)
    /// Two Authorization fields: which one counts is nobody's choice.
    case duplicate
    case malformed

    /// Looks at the Authorization fields and at protocol parameters in the query. A bearer token anywhere else is not
    /// one (RFC 9700 section 4.3.2): no form, query or cookie is searched.
    static func find(in head: RequestHead, _ oauth1: OAuth1Verifier) -> PresentedCredentials {
        var token: Range<Int>?
        var signatures = 0
        var isMalformed = false
        for line in head.fields where line.id == .authorization {
            if OAuth1Verifier.isOAuth(head, line) {
                signatures += 1
            } else if isBearer(head, line.value.range) {
                token = bearerToken(head, line.value.range)
                if token == nil { isMalformed = true }
            }
        }
        // Two fields, whatever their schemes: an upstream might believe the one that we did not look at.
        if head.count(of: .authorization) > 1 { return .duplicate }
        if signatures == 0, oauth1.detects(head) { signatures = 1 }
        if isMalformed { return .malformed }
        switch (token, signatures) {
        case (let token?, 0): return .bearer(token)
        case (let token?, _): return .both(token)
        case (nil, 0): return .none
        case (nil, _): return .oauth1
        }
    }

    private static func isBearer(_ head: RequestHead, _ range: Range<Int>) -> Bool {
        let value = head.span(range)
        let name: StaticString = "bearer"
        guard value.count >= 6 else { return false }
        for index in 0..<6 where unsafe value[index] | 0x20 != name.utf8Start[index] {
            return false
        }
        return value.count == 6 || value[6] == 0x20 || value[6] == 0x09
    }

    /// `Bearer` 1*SP b64token (RFC 6750 section 2.1), and nothing behind it.
    private static func bearerToken(_ head: RequestHead, _ range: Range<Int>) -> Range<Int>? {
        let value = head.span(range)
        var start = 6
        while start < value.count, value[start] == 0x20 { start += 1 }
        guard start > 6, start < value.count else { return nil }
        var isPadding = false
        for index in start..<value.count {
            switch value[index] {
            case 0x3D:
                guard index > start else { return nil }
                isPadding = true
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E, 0x2B, 0x2F:
                guard !isPadding else { return nil }
            default:
                return nil
            }
        }
        return range.lowerBound + start..<range.upperBound
    }
}
