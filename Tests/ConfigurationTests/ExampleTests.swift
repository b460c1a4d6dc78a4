import Foundation
import Testing

@testable import Configuration

/// The model conf and the page of directives say what the table says.
@Suite struct ExampleTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    static func text(_ name: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8)
    }

    @Test func theExampleLoadsAsItStands() throws {
        let path = ExampleTests.root.appendingPathComponent("gateway.conf.example").path
        let result = ConfigurationLoader.load(path: path, source: .fileSystem)
        #expect(result.summaries == [])
        let configuration = try #require(result.configuration)
        #expect(configuration.listeners.count == 1)
        #expect(configuration.routes.count == 2)
        #expect(Memory().load(configuration.printed()).configuration == configuration)
    }

    /// Comments taken away from what looks like a directive, every option must be a legal one.
    @Test func whatTheExampleCommentsOutLoadsToo() throws {
        let lines = try ExampleTests.text("gateway.conf.example").split(separator: "\n")
        let directive = try Regex(
            #"^(\s*)# +([a-z_0-9]+ .*[;{]|[a-z_0-9]+ .*; +#.*|\}|    .*|[a-z0-9_]+ \{.*\})( *#.*)?$"#
        )
        let opened = lines.map { line -> String in
            guard line.wholeMatch(of: directive) != nil, let sign = line.firstIndex(of: "#") else {
                return String(line)
            }
            return String(line[..<sign] + line[line.index(after: sign)...])
        }
        var memory = Memory()
        memory.environment["CREDENTIALS_DIRECTORY"] = "/c"
        memory.matches["/etc/gatehouse/conf.d/*.conf"] = []
        for name in [
            "/c/reports", "/c/partner", "/etc/gatehouse/partner.pem",
            "/etc/gatehouse/corporate.jwks", "/etc/gatehouse/signer.jwks",
            "/etc/gatehouse/tls/api.crt", "/c/api.key",
            "/etc/gatehouse/tls/api.ocsp", "/etc/gatehouse/tls/clients.pem",
            "/etc/gatehouse/tls/internal.pem", "/etc/gatehouse/tls/gatehouse.crt",
            "/c/gatehouse.key", "/etc/gatehouse/tls/login.pem", "/c/introspection",
        ] {
            memory.modes[name] = 0o600
        }
        let result = memory.load(opened.joined(separator: "\n"))
        #expect(result.summaries == [])
        #expect(result.configuration?.clients.count == 4)
        #expect(result.configuration?.hosts.count == 1)
        #expect(result.configuration?.routes[0].addressRules.count == 2)
    }

    /// A conf as a load test writes it: one listener, one route, one scheme of authentication.
    @Test(arguments: [
        (
            "issuer b { issuer https://i; audience a; jwks_file /k/keys.jwks; algorithms ES256; }",
            "bearer"
        ),
        (
            "client key { oauth1_secret_file /k/secret; } oauth1 { signature_methods HMAC-SHA1; timestamp_window 30d; }",
            "oauth1"
        ),
        ("", "none"),
    ])
    func aConfForMeasuring(trust: String, scheme: String) throws {
        let conf = """
            workers 1;
            token_cache off;
            listener bench {
                address 127.0.0.1:18080;
                limits { idle_timeout 600s; connections 60000; streams 256; body 64m; }
            }
            log { access off; error /run/bench/error.log warn; }
            store memory;
            \(trust)
            upstream bench { server 127.0.0.1:18081; keepalive 1024; idle_timeout 600s; }
            route / {
                upstream bench;
                authorization forward;
                authenticate \(scheme);
            }
            """
        let result = Memory.usual.load(conf)
        #expect(result.summaries == [])
        #expect(result.configuration?.upstreams[0].keepalive == 1024)
    }

    @Test(arguments: Place.allCases) func theExampleShowsEveryDirective(of place: Place) throws {
        let words = Set(
            try ExampleTests.text("gateway.conf.example")
                .split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init))
        for directive in Directive.table[place] ?? [] where !directive.isLater {
            #expect(words.contains(directive.name), "\(directive.name) \(place.title)")
        }
    }

    /// Each section of the page has a row for each directive of this version, and no other; the
    /// later ones are named below.
    @Test(arguments: Place.allCases) func thePageHasEveryDirective(of place: Place) throws {
        let page = try ExampleTests.text("docs/directives.md")
        let sections = page.components(separatedBy: "\n## ")
        let section = try #require(sections.first { $0.hasPrefix(place.title + "\n") })
        let rows = section.split(separator: "\n").filter { $0.hasPrefix("| `") }
        let shown = Set(
            rows.flatMap { row in
                let cell = row.replacing("\\|", with: "/").split(separator: "|")[0]
                return cell.split(separator: "`").map { $0.prefix { $0 != " " && $0 != ";" } }
                    .filter { !$0.isEmpty && $0 != "," }.map(String.init)
            })
        let directives = Directive.table[place] ?? []
        #expect(!directives.isEmpty)
        #expect(shown == Set(directives.filter { !$0.isLater }.map(\.name)))
        for later in directives where later.isLater {
            #expect(section.contains("`\(later.name)`"), "\(later.name) \(place.title)")
        }
    }
}
