import Configuration
import Store
import Telemetry
import Transport

/// The conf file of the running program.
public enum ConfigurationFile {
    /// Reads and checks it.
    ///
    /// - Throws: every mistake, rendered, in one error. Warnings go to `warn`.
    public static func load(
        _ path: String, warn: (String) -> Void = { _ in }
    ) throws(StartError) -> Configuration {
        let result = ConfigurationLoader.load(path: path, source: .fileSystem)
        for diagnostic in result.diagnostics where diagnostic.severity == .warning {
            warn(diagnostic.rendered())
        }
        guard let configuration = result.configuration else {
            let mistakes = result.diagnostics.filter { $0.severity == .error }
            throw StartError(
                .configuration, mistakes.map { $0.rendered() }.joined(separator: "\n"))
        }
        return configuration
    }
}

extension ConfigurationFile {
    /// Reads every file that the conf names, as a start would.
    public static func checkMaterial(_ configuration: Configuration) throws(StartError) {
        _ = try Material(configuration)
        _ = try TLSMaterial(configuration, ticketKeys: TLSTicketKeys())
    }
}

extension LogDestination {
    init(_ destination: LogConfiguration.Destination) {
        switch destination {
        case .stdout: self = .standardOutput
        case .stderr: self = .standardError
        case .off: self = .off
        case .file(let path): self = .file(path)
        }
    }
}

extension Severity {
    init(_ level: LogLevel) {
        self = Severity(rawValue: level.rawValue) ?? .info
    }
}

extension AccessLog.Format {
    init(_ format: LogConfiguration.Format) {
        switch format {
        case .json: self = .json
        case .combined: self = .combined
        }
    }
}
