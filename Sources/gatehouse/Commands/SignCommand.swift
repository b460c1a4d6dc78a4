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

    func validate() throws {
        guard let known = OAuth1SignatureMethod(rawValue: signatureMethod) else {
            throw ValidationError("unknown signature method \(signatureMethod)")
        }
        let isRSA = known.rawValue.hasPrefix("RSA-")
        guard !isRSA || rsaKeyFile != nil else {
            throw ValidationError("\(signatureMethod) needs --rsa-key-file")
        }
        guard isRSA || consumerSecretFile != nil else {
            throw ValidationError("\(signatureMethod) needs --consumer-secret-file")
        }
        guard (token == nil) == (tokenSecretFile == nil) || isRSA else {
            throw ValidationError("--token and --token-secret-file belong together")
        }
        // It is signed as it is sent, byte for byte: what is no method would come back as a 400.
        guard !method.isEmpty, method.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValidationError("'\(method)' is not a method")
        }
    }

    func run() throws {
        let content = try body.map { try InputFile.read($0) }
        let request = OAuth1Signer.Request(
            method: method, url: url, contentType: content == nil ? nil : contentType,
            body: content ?? [], hashesBody: content != nil)
        let signer = OAuth1Signer(
            method: OAuth1SignatureMethod(rawValue: signatureMethod) ?? .hmacSHA256,
            consumerKey: consumerKey, token: token,
            credentials: OAuth1Credentials(
                consumerSecret: try consumerSecretFile.map(InputFile.secret) ?? Secret([]),
                tokenSecret: try tokenSecretFile.map(InputFile.secret)),
            privateKey: try rsaKeyFile.map(privateKey), realm: realm)
        let nonce = try RandomBytes.make(count: 16).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
        let header: String
        do throws(OAuth1SigningError) {
            header = try signer.authorization(
                for: request, timestamp: WallTime.now().seconds, nonce: nonce)
        } catch {
            Diagnostics.write("gatehouse: the request cannot be signed: \(sentence(error))")
            throw ExitCode(64)
        }
        try Output.raw(curl ? command(header) : "Authorization: \(header)")
    }

    private func privateKey(_ path: String) throws -> PrivateKey {
        let text = Secret(try InputFile.read(path))
        do throws(CryptographyError) {
            return try PrivateKey(pem: text)
        } catch {
            Diagnostics.write("gatehouse: \(path): not a PEM file with a private key")
            throw ExitCode(64)
        }
    }

    private func sentence(_ error: OAuth1SigningError) -> String {
        switch error {
        case .invalidURL: "\(url) is not http(s)://host[:port][/path][?query]"
        case .malformedParameters: "the query or the form cannot be decoded"
        case .keyMissing: "\(signatureMethod) needs an RSA key"
        case .signingFailed: "the key cannot sign so"
        }
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
    /// What a request or a key may come to; past it somebody named the wrong file.
    private static let limitBytes = 64 << 20

    static func read(_ path: String) throws -> [UInt8] {
        if path == "-" { return try standardInput() }
        guard let file = FileHandle(forReadingAtPath: path) else {
            Diagnostics.write("gatehouse: \(path): cannot be read")
            throw ExitCode(errno == EACCES ? 77 : 64)
        }
        return try content(file, path)
    }

    static func standardInput() throws -> [UInt8] {
        try content(FileHandle.standardInput, "standard input")
    }

    private static func content(_ file: FileHandle, _ name: String) throws -> [UInt8] {
        guard let data = try? file.read(upToCount: limitBytes + 1) ?? Data(),
            data.count <= limitBytes
        else {
            Diagnostics.write("gatehouse: \(name): cannot be read, or is too large")
            throw ExitCode(64)
        }
        return Array(data)
    }

    /// A secret without the one line end behind it, as the conf's `*_file` directives take it.
    static func secret(_ path: String) throws -> Secret {
        var bytes = try read(path)
        if bytes.last == 0x0A {
            bytes.removeLast()
            if bytes.last == 0x0D { bytes.removeLast() }
        }
        guard !bytes.isEmpty else {
            Diagnostics.write("gatehouse: \(path): the secret is empty")
            throw ExitCode(64)
        }
        return Secret(bytes)
    }
}
