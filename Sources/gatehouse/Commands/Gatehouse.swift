import ArgumentParser
import Gateway
import Glibc

/// The program: parses, and hands over to a command.
struct Gatehouse: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gatehouse",
        abstract: "An authentication gateway for internal APIs.",
        subcommands: [
            Serve.self, Check.self, ClientCommand.self, TokenCommand.self, KeyCommand.self,
            StoreCommand.self,
            ExplainCommand.self, SignCommand.self, Version.self,
        ],
        defaultSubcommand: Serve.self)
}

/// `--config`, as every command that reads the conf takes it.
struct ConfigOption: ParsableArguments {
    @Option(name: .long, help: "The conf file.")
    var config = "/etc/gatehouse/gateway.conf"
}

extension StartError {
    /// Prints the error as one line (or one mistake a paragraph) to stderr and ends with its exit code.
    var exit: ExitCode {
        Diagnostics.write("gatehouse: \(description)")
        return exitCode
    }

    /// As sysexits.h has it.
    var exitCode: ExitCode {
        switch kind {
        case .usage: return ExitCode(64)
        case .configuration: return ExitCode(78)
        case .unavailable: return ExitCode(69)
        case .permission: return ExitCode(77)
        case .software: return ExitCode(70)
        }
    }
}

/// What goes to stderr; results go to stdout.
enum Diagnostics {
    static func write(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = unsafe bytes.withUnsafeBytes { raw in unsafe Glibc.write(2, raw.baseAddress, raw.count)
        }
    }
}
