import Foundation
import TestSupport
import Testing

/// Certificates and the OCSP responses that go with them have their time, of which the operator hears.
struct CertificateTimeTests {
    private static let route = """
        upstream app { server 127.0.0.1:1; }
        route / { upstream app; authenticate none; }
        """

    /// 30 days before it ends, 7, 1 and at its end: once each, and no more once it was renewed.
    @Test func aCertificateIsWarnedOfBeforeItEnds() throws {
        let clock = try TurnedClock()
        let authority = try TestAuthority()
        try authority.issue("short", ["DNS:short.test"], days: 60)
        try authority.issue("long", ["DNS:long.test"], days: 365)
        let gateway = try Gateway(
            testConf(
                listener: """
                    tls { certificate short.crt; key short.key; }
                    tls { certificate long.crt; key long.key; }
                    """, Self.route), in: authority.folder, through: clock.command())
        func lines(_ text: String) -> [Substring] {
            gateway.process.standardError.split(separator: "\n").filter { $0.contains(text) }
        }
        let soon = "a certificate ends soon"
        var told = 0
        for (offset, days) in [("+31d", 28), ("+54d", 5), ("+59d", 0)] {
            try clock.turn(to: offset)
            told += 1
            try gateway.process.waitUntil("warning \(told)") { lines(soon).count == told }
            let line = try #require(lines(soon).last)
            // One more where all of this has taken no second.
            let isRight = [days, days + 1].contains { line.hasSuffix("days_left=\($0)") }
            #expect(line.contains("short.crt") && isRight, "\(line)")
        }
        try clock.turn(to: "+61d")
        try gateway.process.waitUntil("the end") {
            lines("a certificate has ended").count == 1
        }
        // One that takes its place is good for longer; by the clock of the test its first day is today.
        try authority.issue("short", ["DNS:short.test"], days: 200)
        try gateway.waitForLog("certificates were loaded anew")
        try clock.turn(to: "+175d")
        try gateway.process.waitUntil("the next one") { lines(soon).count == told + 1 }
        #expect(lines("a certificate has ended").count == 1)
        #expect(lines("long.crt").isEmpty)
    }

    // MARK: Stapling

    /// An authority's answers about its own certificates, from an index as `openssl ca` keeps it.
    private struct Responder {
        let authority: TestAuthority
        let staple: String

        /// - Parameter index: of all that it knows.
        func respond(
            _ index: String, about certificate: TestAuthority.Issued, through: [String] = []
        ) throws {
            let folder = authority.folder
            let (request, answer) = (folder.file("one.ocsp-request"), folder.file("answer"))
            try authority.command(
                ["ocsp", "-issuer", authority.certificate, "-cert", certificate.certificate]
                    + ["-no_nonce", "-reqout", request])
            let command =
                try through + [requireTool("openssl", package: "openssl")]
                + ["ocsp", "-index", folder.write("index.txt", index)]
                + ["-CA", authority.certificate, "-rsigner", authority.certificate]
                + ["-rkey", folder.file("ca.key"), "-reqin", request]
                + ["-respout", answer, "-ndays", "1"]
            let result = try run(command[0], Array(command.dropFirst()))
            guard result.status == .code(0) else { throw Failure(result.error) }
            // In one step: the gateway reads it when it changes.
            try #require(rename(answer, staple) == 0)
        }

        /// The entry of a certificate that is good.
        func entry(_ certificate: TestAuthority.Issued) throws -> String {
            let serial = try authority.command(
                ["x509", "-in", certificate.certificate, "-noout", "-serial"]
            ).split(separator: "=")[1].trimmingCharacters(in: .whitespacesAndNewlines)
            return "V\t351231235959Z\t\t\(serial)\tunknown\t/O=Gatehouse/CN=one\n"
        }

        /// Whether the server on the port sends it along.
        func isSent(by port: UInt16) throws -> Bool {
            let said = try authority.command([
                "s_client", "-connect", "127.0.0.1:\(port)", "-status",
            ])
            return said.contains("OCSP Response Status: successful (0x0)")
                && said.contains("Cert Status: good")
        }
    }

    private static let stapling = testConf(
        listener: "tls { certificate one.crt; key one.key; stapling_file one.ocsp; }", route)

    @Test func aStapleIsSentAlong() throws {
        let authority = try TestAuthority()
        let issued = try authority.issue("one", ["DNS:localhost"])
        let responder = Responder(authority: authority, staple: authority.folder.file("one.ocsp"))
        let entry = try responder.entry(issued)
        try responder.respond(entry, about: issued)
        let gateway = try Gateway(Self.stapling, in: authority.folder)
        #expect(try responder.isSent(by: gateway.port))
        // What is no response at all is refused, and the old one goes on; so is one about another certificate.
        try authority.folder.write("one.ocsp", "junk")
        try gateway.waitForLog("one.ocsp: no successful OCSP response (DER)")
        let revoked =
            "R\t351231235959Z\t251231235959Z" + entry.dropFirst("V\t351231235959Z\t".count)
        try responder.respond(revoked, about: issued)
        try gateway.waitForLog("one.ocsp: the OCSP response does not call the certificate good")
        let other = try authority.issue("other", ["DNS:localhost"])
        try responder.respond("", about: other)
        try gateway.waitForLog("one.ocsp: the OCSP response is not about this certificate")
        #expect(try responder.isSent(by: gateway.port))
    }

    /// Of two authorities of one name, the other's word does not count where the file shows which of them issued.
    @Test func aStapleOfAnotherAuthorityIsRefused() throws {
        let (authority, namesake) = (try TestAuthority(), try TestAuthority())
        let issued = try authority.issue("one", ["DNS:localhost"])
        try authority.folder.write(
            "one.crt",
            authority.folder.read("one.crt") + authority.folder.read("ca.pem"))
        let staple = authority.folder.file("one.ocsp")
        let entry = try Responder(authority: authority, staple: staple).entry(issued)
        try Responder(authority: namesake, staple: staple).respond(entry, about: issued)
        let result = try run(
            gatehouseBinary(),
            ["serve", "--config", authority.folder.write("gateway.conf", Self.stapling)])
        #expect(result.status != .code(0))
        #expect(
            result.error.contains("one.ocsp: the OCSP response is not about this certificate"),
            "\(result.error)")
        try Responder(authority: authority, staple: staple).respond(entry, about: issued)
        // The authority has had another key: which of the two issued, names do not tell.
        try authority.folder.write(
            "one.crt",
            authority.folder.read("one.crt").replacingOccurrences(
                of: authority.folder.read("ca.pem"), with: "")
                + namesake.folder.read("ca.pem") + authority.folder.read("ca.pem"))
        let gateway = try Gateway(Self.stapling, in: authority.folder)
        #expect(try Responder(authority: authority, staple: staple).isSent(by: gateway.port))
    }

    /// Clients would refuse it: they are better off without. The operator is told, whether it was so from the start or has
    /// become so.
    @Test func aStapleThatIsOutOfDateIsNotSent() throws {
        let clock = try TurnedClock()
        let authority = try TestAuthority()
        let issued = try authority.issue("one", ["DNS:localhost"])
        let responder = Responder(authority: authority, staple: authority.folder.file("one.ocsp"))
        let entry = try responder.entry(issued)
        let faketime = try requireTool("faketime", package: "faketime")
        try responder.respond(entry, about: issued, through: [faketime, "-f", "-3d"])
        let gateway = try Gateway(Self.stapling, in: authority.folder, through: clock.command())
        let faults = ["is out of date", "is of a time to come"].map {
            "an OCSP response \($0) and is not sent along"
        }
        func warnings(of faults: [String]) -> Int {
            gateway.process.standardError.split(separator: "\n").filter { line in
                faults.contains { line.contains($0) }
            }.count
        }
        func warnings() -> Int { warnings(of: faults) }
        try gateway.process.waitUntil("the first warning") { warnings() == 1 }
        #expect(try !responder.isSent(by: gateway.port))
        try responder.respond(entry, about: issued)
        try gateway.process.waitUntil("the new one") { try responder.isSent(by: gateway.port) }
        // What says that it will be so lies ahead, beyond what clocks may differ by.
        try responder.respond(entry, about: issued, through: [faketime, "-f", "+1h"])
        try gateway.process.waitUntil("the second warning") { warnings() == 2 }
        #expect(try !responder.isSent(by: gateway.port))
        try clock.turn(to: "+2h")
        try gateway.process.waitUntil("its time") { try responder.isSent(by: gateway.port) }
        // The next one does not come.
        try responder.respond(entry, about: issued, through: [faketime, "-f", "+2h"])
        try gateway.process.waitUntil("the last one") {
            gateway.process.standardError.components(separatedBy: "were loaded anew").count == 4
        }
        try clock.turn(to: "+27h")
        try gateway.process.waitUntil("the third warning") { warnings() == 3 }
        #expect(warnings(of: [faults[1]]) == 1)
        #expect(try !responder.isSent(by: gateway.port))
    }
}
