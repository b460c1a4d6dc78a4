import Foundation

/// A certificate authority of a test's own, with the certificates that it has issued, as PEM files in a folder. Made by
/// the openssl program.
public final class TestAuthority: Sendable {
    public enum KeyKind: Sendable { case ecdsa, rsa }

    /// A certificate and its key, as paths.
    public struct Issued: Sendable {
        public let certificate: String
        public let key: String
    }

    public let folder: TemporaryDirectory
    /// The authority's own certificate.
    public let certificate: String
    private let openssl: String

    public init(in folder: TemporaryDirectory? = nil) throws {
        let folder = try folder ?? TemporaryDirectory()
        self.folder = folder
        openssl = try requireTool("openssl", package: "openssl")
        certificate = folder.file("ca.pem")
        try command(
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-subj", "/O=Gatehouse/CN=Test Authority", "-days", "3650", "-keyout",
                folder.file("ca.key"), "-out", certificate,
            ])
    }

    /// Issues a certificate for the names (`DNS:a.test`, `IP:127.0.0.1`, `URI:spiffe://x`), or signed by itself.
    @discardableResult
    public func issue(
        _ file: String, _ names: [String], _ kind: KeyKind = .ecdsa, subject: String? = nil,
        days: Int = 90, isSelfSigned: Bool = false
    ) throws -> Issued {
        let issued = Issued(
            certificate: folder.file(file + ".crt"), key: folder.file(file + ".key"))
        let request = folder.file(file + ".csr")
        let key =
            switch kind {
            case .ecdsa: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
            case .rsa: ["-newkey", "rsa:2048"]
            }
        try command(
            ["req", "-new", "-nodes", "-subj", subject ?? "/O=Gatehouse/CN=\(file)"] + key
                + ["-keyout", issued.key, "-out", request])
        var lines = "extendedKeyUsage=serverAuth,clientAuth\n"
        if !names.isEmpty { lines += "subjectAltName=\(names.joined(separator: ","))\n" }
        let extensions = try folder.write(file + ".ext", lines)
        let signer =
            isSelfSigned
            ? ["-signkey", issued.key]
            : ["-CA", certificate, "-CAkey", folder.file("ca.key"), "-CAcreateserial"]
        try command(
            ["x509", "-req", "-in", request, "-extfile", extensions, "-out", issued.certificate]
                + ["-days", "\(days)"] + signer)
        return issued
    }

    /// Runs the openssl program.
    @discardableResult
    public func command(_ arguments: [String], input: String = "") throws -> String {
        let result = try run(openssl, arguments, input: input)
        guard result.status == .code(0) else {
            throw Failure("openssl \(arguments.joined(separator: " ")): \(result.error)")
        }
        return result.output
    }
}
