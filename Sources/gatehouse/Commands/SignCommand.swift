import ArgumentParser
import Cryptography
import Foundation
import OAuth
import Primitives

struct SignCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sign", abstract: "Sign a request with OAuth 1.0 and print its header.")

    @Option(name: .long, help: "The consumer key.") var consumerKey: String
    @Option(name: .long, help: "A file with the consumer secret.") var consumerSecretFile: String?
    @Option(name: .long, help: "An access token.") var token: String?
    @Option(name: .long, help: "A file with the token's secret.") var tokenSecretFile: String?
    @Option(
        name: .long,
        help: "HMAC-SHA1, HMAC-SHA256, HMAC-SHA512, RSA-SHA1, RSA-SHA256, RSA-SHA512 or PLAINTEXT.")
    var signatureMethod = "HMAC-SHA256"
    @Option(name: .long, help: "A PEM file with the RSA private key.") var rsaKeyFile: String?
    @Option(name: .long, help: "A file with the body.") var body: String?
    @Option(name: .long, help: "The body's media type.")
    var contentType = "application/x-www-form-urlencoded"
    @Option(name: .long, help: "The realm; it is not signed.") var realm: String?
    @Flag(name: .long, help: "Print a curl command.") var curl = false
    @Argument(help: "The method.") var method: String
    @Argument(help: "The absolute URL.") var url: String

    func run() throws {
        guard let signatureMethod = OAuth1SignatureMethod(rawValue: signatureMethod) else {
            throw ValidationError("unknown signature method \(signatureMethod)")
        }
        let content = try body.map { try InputFile.read($0) }
        let request = OAuth1Signer.Request(
            method: method, url: url, contentType: content == nil ? nil : contentType,
            body: content ?? [], hashesBody: content != nil)
        let signer = OAuth1Signer(
            method: signatureMethod, consumerKey: consumerKey, token: token,
            credentials: OAuth1Credentials(
                consumerSecret: try consumerSecretFile.map(InputFile.secret) ?? Secret([]),
                tokenSecret: try tokenSecretFile.map(InputFile.secret)),
            privateKey: try rsaKeyFile.map { path in
                try PrivateKey(pem: Secret(try InputFile.read(path)))
            }, realm: realm)
        let nonce = try RandomBytes.make(count: 16).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
        let header: String
        do throws(OAuth1SigningError) {
            header = try signer.authorization(
                for: request, timestamp: WallTime.now().seconds, nonce: nonce)
        } catch {
            Diagnostics.write("gatehouse: the request cannot be signed: \(error)")
            throw ExitCode(64)
        }
        print(curl ? command(header) : "Authorization: \(header)")
    }

    private func command(_ header: String) -> String {
        func quoted(_ text: String) -> String {
            "'" + text.replacingOccurrences(of: "'", with: "'\\''") + "'"
        }
        var words = ["curl", "-X", quoted(method), "-H", quoted("Authorization: \(header)")]
        if let body {
            words += ["-H", quoted("Content-Type: \(contentType)")]
            words += ["--data-binary", quoted("@\(body)")]
        }
        return (words + [quoted(url)]).joined(separator: " ")
    }
}

/// Files and standard input of a command.
enum InputFile {
    static func read(_ path: String) throws -> [UInt8] {
        if path == "-" { return standardInput() }
        guard let data = FileManager.default.contents(atPath: path) else {
            Diagnostics.write("gatehouse: \(path): cannot be read")
            throw ExitCode(64)
        }
        return Array(data)
    }

    static func standardInput() -> [UInt8] {
        Array(FileHandle.standardInput.readDataToEndOfFile())
    }

    /// A secret without the line end behind it.
    static func secret(_ path: String) throws -> Secret {
        var bytes = try read(path)
        if bytes.last == 0x0A { bytes.removeLast() }
        if bytes.last == 0x0D { bytes.removeLast() }
        return Secret(bytes)
    }
}
