import HTTP
import Testing

@testable import Gateway

/// The path as it comes in, made canonical and matched: the two together let no reading leave the route.
@Suite struct CanonicalRoutingTests {
    static let paths: [(raw: String, expected: String)] = [
        ("/admin/x", "/admin"), ("/public/./../admin/x", "/admin"), ("/public/x", "/public"),
        ("/%61dmin/x", "/admin"), ("/public;/x", "/public"), ("/x", "none"),
        ("/public/%2e%2e/admin", "refused"), ("/public/..%2fadmin", "refused"),
        ("/public/..%5cadmin", "refused"), ("/public/..\\admin", "refused"),
        ("/public//admin", "refused"), ("/public/%252e%252e/admin", "refused"),
        ("/public/..;/admin", "refused"), ("/public/..%3B/admin", "refused"),
        ("/public/..%3b/admin", "refused"), ("/public/.;x/admin", "refused"),
        ("/admin;a/x", "/admin"), ("/adm%00in", "refused"), ("/public/%zz", "refused"),
        ("/public/%u002e", "refused"), ("/public/%c0%ae", "refused"), ("/../admin", "refused"),
        // A prefix that ends with a slash is not that of a segment with parameters.
        ("/slash;a/x", "refused"), ("/slash/x;a", "/slash/"),
    ]

    @Test(arguments: paths)
    func onePathIsMatchedOrNone(raw: String, expected: String) {
        let table = RouteTable(
            configuration: configuration([route("/admin"), route("/public"), route("/slash/")]))
        var canonical: [UInt8] = []
        guard CanonicalPath.canonicalize(Array(raw.utf8).span, into: &canonical) else {
            #expect(expected == "refused")
            return
        }
        switch table.match(authority: Array("h".utf8).span, path: canonical.span) {
        case .route(let route): #expect(String(decoding: route.path, as: UTF8.self) == expected)
        case .none: #expect(expected == "none")
        case .ambiguous: #expect(expected == "refused")
        }
    }
}
