import Primitives

extension Interpreter {
    /// `tls { certificate FILE; key FILE; … }` of a listener: one more certificate. The rules are the listener's: the name
    /// that chose the certificate need not be the one that the request is for, so that a certificate cannot have rules
    /// of its own.
    mutating func tls(_ statement: Statement, _ listener: inout ListenerConfiguration) {
        let block = accept(statement.block ?? [], in: .listenerTLS)
        demand("certificate", of: block, statement)
        demand("key", of: block, statement)
        let isFirst = listener.tls == nil
        let before = listener.tls ?? ListenerTLS()
        var tls = before
        var files = CertificateFiles(certificate: "", key: "")
        for inner in block.statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "certificate": files.certificate = existingFile(value, .open) ?? ""
            case "key": files.key = existingFile(value, .secret) ?? ""
            case "stapling_file": files.staple = existingFile(value, .open)
            case "client_ca": tls.clientCA = existingFile(value, .open)
            case "client_certificate":
                tls.clientCertificate =
                    choice(value, ListenerTLS.ClientCertificate.self) ?? tls.clientCertificate
            case "min_version": tls.minVersion = choice(value, TLSVersion.self) ?? tls.minVersion
            case "ciphers":
                tls.ciphers = list(inner.arguments, { $0.cipher($1) }) ?? tls.ciphers
            case "session_tickets": tls.sessionTickets = flag(value) ?? tls.sessionTickets
            default: unread(inner)
            }
        }
        if !isFirst, tls != before {
            sink.error(
                "this 'tls' block has other rules than the first of its listener",
                at: statement.name.span,
                "client_ca, client_certificate, min_version, ciphers and session_tickets hold for the listener: write them in the first block alone"
            )
        }
        if isFirst { checkClientCertificates(tls, statement) }
        tls.certificates.append(files)
        listener.tls = tls
    }

    private mutating func checkClientCertificates(_ tls: ListenerTLS, _ statement: Statement) {
        if tls.clientCertificate == .require, tls.clientCA == nil {
            sink.error(
                "'client_certificate require' needs 'client_ca'", at: statement.name.span,
                "expected client_ca FILE; (request, without client_ca, takes any certificate, for tokens that are bound to it)"
            )
        }
        if tls.clientCertificate == .off, tls.clientCA != nil {
            sink.warning(
                "'client_ca' without 'client_certificate' asks no client for a certificate",
                at: statement.name.span, "expected client_certificate request|require;")
        }
    }

    /// A cipher suite as OpenSSL names it. Words that stand for many (`ALL`, `!MD5`) are not taken: what is spoken should
    /// be readable in the conf.
    mutating func cipher(_ argument: Argument) -> String? {
        let isName = argument.text.utf8.allSatisfy {
            isASCIILetterOrDigit($0) || $0 == UInt8(ascii: "-")
        }
        guard isName, argument.text.contains("-"), !argument.text.hasPrefix("-") else {
            sink.error(
                "\(shown(argument.text)) is no cipher suite of TLS 1.2", at: argument.span,
                "expected a name such as ECDHE-RSA-AES128-GCM-SHA256")
            return nil
        }
        return argument.text
    }
}

extension Interpreter {
    /// `tls { ca FILE; server_name NAME; … }` of an upstream
    mutating func upstreamTLS(_ statement: Statement) -> UpstreamTLS {
        var tls = UpstreamTLS()
        var (certificate, key): (String?, String?)
        let block = accept(statement.block ?? [], in: .upstreamTLS)
        for inner in block.statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "ca": tls.ca = existingFile(value, .open)
            case "server_name": tls.serverName = serverName(value)
            case "verify": tls.verifies = flag(value) ?? tls.verifies
            case "certificate": certificate = existingFile(value, .open)
            case "key": key = existingFile(value, .secret)
            case "min_version": tls.minVersion = choice(value, TLSVersion.self) ?? tls.minVersion
            case "ciphers":
                tls.ciphers = list(inner.arguments, { $0.cipher($1) }) ?? tls.ciphers
            default: unread(inner)
            }
        }
        if block.names.contains("certificate") != block.names.contains("key") {
            sink.error(
                "a certificate and its key belong together", at: statement.name.span,
                "expected both certificate FILE; and key FILE;")
        }
        if let certificate, let key {
            tls.certificate = CertificateFiles(certificate: certificate, key: key)
        }
        if !tls.verifies {
            sink.warning(
                "'verify off' takes any server for the right one", at: statement.name.span,
                "expected ca FILE; where the system's authorities do not know it")
        }
        return tls
    }

    /// A host name or an address, as a certificate carries it.
    private mutating func serverName(_ argument: Argument) -> String? {
        if IPAddress(argument.text) != nil { return argument.text }
        guard isHost(argument.text), !argument.text.contains(":") else {
            sink.error(
                "\(shown(argument.text)) is no name of a server", at: argument.span,
                "expected a host name or an address")
            return nil
        }
        return argument.text
    }

    /// Who is verified must have a name.
    mutating func checkServerName(_ upstream: UpstreamConfiguration, _ statement: Statement) {
        guard let tls = upstream.tls, tls.verifies, tls.serverName == nil else { return }
        for case .unix(let path) in upstream.servers {
            sink.error(
                "a server on a unix socket has no name that its certificate could be checked for",
                at: statement.name.span, "expected server_name NAME; in 'tls' for unix:\(path)")
            return
        }
    }
}
