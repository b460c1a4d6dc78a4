import Configuration
import Glibc
import Primitives
import Transport

/// The certificates and keys that a configuration names, ready for use, and by what a change of their files is seen.
struct TLSMaterial: Sendable {
    /// By the name of the listener.
    let servers: [String: TLSServerContext]
    /// By the name of the upstream.
    let upstreams: [String: UpstreamTLSContexts]
    /// How those are spoken to who are asked about tokens: by the path of their `ca`, the system's under "".
    let issuers: [String: TLSClientContext]
    /// When each certificate ends, by its file.
    let expiries: [String: WallTime]
    /// While each OCSP response counts, by its file.
    let staples: [String: Range<WallTime>]
    /// The files as they were when they were read.
    let stamps: Stamps

    typealias Stamps = [String: FileStamp]

    static let none = TLSMaterial()

    private init() {
        servers = [:]
        upstreams = [:]
        issuers = [:]
        expiries = [:]
        staples = [:]
        stamps = [:]
    }

    /// Reads every file. Called on a thread that may block.
    init(_ configuration: Configuration, ticketKeys: TLSTicketKeys) throws(StartError) {
        // Looked at before they are read: what changes in between is read again.
        stamps = TLSMaterial.stamps(of: configuration)
        var servers: [String: TLSServerContext] = [:]
        var expiries: [String: WallTime] = [:]
        var staples: [String: Range<WallTime>] = [:]
        for listener in configuration.listeners {
            guard let tls = listener.tls else { continue }
            let place = "listener \(listener.name)"
            var identities: [TLSIdentity] = []
            for files in tls.certificates {
                let identity = try TLSMaterial.identity(files, place)
                expiries[files.certificate] = identity.expiresAt
                if let path = files.staple { staples[path] = identity.stapleValidity }
                identities.append(identity)
            }
            var settings = TLSServerContext.Settings()
            settings.minimumVersion = tls.minVersion == .tls13 ? .tls13 : .tls12
            settings.ciphers = tls.ciphers.isEmpty ? nil : tls.ciphers.joined(separator: ":")
            settings.usesTickets = tls.sessionTickets
            settings.protocols = listener.protocols.compactMap {
                switch $0 {
                case .h2: .http2
                case .http11: .http11
                case .h2c: nil
                }
            }
            switch tls.clientCertificate {
            case .off: settings.clientCertificates = .off
            case .request: settings.clientCertificates = .request
            case .require: settings.clientCertificates = .require
            }
            if tls.clientCertificate != .off, let path = tls.clientCA {
                settings.clientAuthorities = try NamedFile.read(path, limit: 16 << 20)
            }
            do throws(TLSError) {
                servers[listener.name] = try TLSServerContext(
                    identities, settings, ticketKeys: ticketKeys)
            } catch {
                throw StartError(.configuration, "\(place): tls: \(error)")
            }
        }
        self.servers = servers
        var upstreams: [String: UpstreamTLSContexts] = [:]
        for upstream in configuration.upstreams {
            guard let tls = upstream.tls else { continue }
            let place = "upstream \(upstream.name)"
            var settings = TLSClientContext.Settings()
            settings.minimumVersion = tls.minVersion == .tls13 ? .tls13 : .tls12
            settings.ciphers = tls.ciphers.isEmpty ? nil : tls.ciphers.joined(separator: ":")
            settings.verifies = tls.verifies
            settings.authorities = try tls.ca.map { path throws(StartError) in
                try NamedFile.read(path, limit: 16 << 20)
            }
            if let files = tls.certificate {
                let identity = try TLSMaterial.identity(files, place)
                expiries[files.certificate] = identity.expiresAt
                settings.identity = identity
            }
            do throws(TLSError) {
                upstreams[upstream.name] = try UpstreamTLSContexts(settings, upstream.version)
            } catch {
                throw StartError(.configuration, "\(place): tls: \(error)")
            }
        }
        self.upstreams = upstreams
        issuers = try TLSMaterial.issuers(configuration)
        self.expiries = expiries
        self.staples = staples
    }

    private static func issuers(
        _ configuration: Configuration
    ) throws(StartError) -> [String: TLSClientContext] {
        var contexts: [String: TLSClientContext] = [:]
        for authority in configuration.askedAuthorities where contexts[authority ?? ""] == nil {
            var settings = TLSClientContext.Settings()
            settings.authorities = try authority.map { path throws(StartError) in
                try NamedFile.read(path, limit: 16 << 20)
            }
            settings.protocols = [.http11]
            do throws(TLSError) {
                contexts[authority ?? ""] = try TLSClientContext(settings)
            } catch {
                throw StartError(.configuration, "ca \(authority ?? "of the system"): \(error)")
            }
        }
        return contexts
    }

    private static func identity(
        _ files: CertificateFiles, _ place: String
    ) throws(StartError) -> TLSIdentity {
        let certificates = try NamedFile.read(files.certificate, limit: 1 << 20)
        let key = try NamedFile.read(files.key, limit: 64 << 10)
        let staple = try files.staple.map { path throws(StartError) in
            try NamedFile.read(path, limit: 64 << 10)
        }
        do throws(TLSError) {
            return try TLSIdentity(certificates: certificates, privateKey: key, staple: staple)
        } catch {
            let path =
                switch error {
                case .noKey, .keyDoesNotMatch: files.key
                case .stapleUnreadable, .stapleOfAnother, .stapleNotGood:
                    files.staple ?? files.certificate
                default: files.certificate
                }
            throw StartError(.configuration, "\(place): \(path): \(error)")
        }
    }

    // MARK: Changes

    /// By what two states of a file differ.
    struct FileStamp: Sendable, Equatable {
        let device: UInt
        let inode: UInt
        let size: Int
        let seconds: Int
        let nanoseconds: Int
    }

    /// The files as they are now, without those that are not there.
    static func stamps(of configuration: Configuration) -> Stamps {
        var stamps: Stamps = [:]
        for path in paths(of: configuration) {
            var facts = stat()
            guard unsafe stat(path, &facts) == 0 else { continue }
            stamps[path] = FileStamp(
                device: facts.st_dev, inode: facts.st_ino, size: facts.st_size,
                seconds: facts.st_mtim.tv_sec, nanoseconds: facts.st_mtim.tv_nsec)
        }
        return stamps
    }

    private static func paths(of configuration: Configuration) -> [String] {
        configuration.listeners.flatMap { listener -> [String] in
            guard let tls = listener.tls else { return [] }
            return tls.certificates.flatMap {
                [$0.certificate, $0.key] + [$0.staple].compactMap(\.self)
            }
                + [tls.clientCA].compactMap(\.self)
        }
            + configuration.upstreams.flatMap { upstream -> [String] in
                guard let tls = upstream.tls else { return [] }
                return [tls.ca, tls.certificate?.certificate, tls.certificate?.key].compactMap(
                    \.self)
            } + configuration.askedAuthorities.compactMap(\.self)
    }
}

extension Configuration {
    /// Whom those are vouched for by who are asked about tokens; `nil` is the system's authorities.
    fileprivate var askedAuthorities: [String?] {
        let issuers = issuers.filter { $0.jwksFile == nil }.map(\.ca)
        return issuers + (introspection.map { [$0.ca] } ?? [])
    }
}

/// How an upstream's servers are spoken to by TLS.
struct UpstreamTLSContexts: Sendable {
    /// Offers what `protocol` says.
    let preferred: TLSClientContext
    /// Offers HTTP/1.1 alone, for what HTTP/2 does otherwise.
    let http1: TLSClientContext

    init(_ settings: TLSClientContext.Settings, _ version: UpstreamProtocol) throws(TLSError) {
        var settings = settings
        settings.protocols = [.http11]
        http1 = try TLSClientContext(settings)
        switch version {
        case .http11:
            preferred = http1
            return
        case .h2: settings.protocols = [.http2]
        case .auto: settings.protocols = [.http2, .http11]
        }
        preferred = try TLSClientContext(settings)
    }
}
