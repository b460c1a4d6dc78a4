import ArgumentParser
import Foundation
import Gateway
import Primitives
import Store

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract:
            "Run the gateway's decision on a request, without forwarding it, and show every step.",
        discussion:
            "The request is raw HTTP/1.1: request line, header fields, an empty line, the body.")

    @OptionGroup var options: ConfigOption
    @Option(name: .long, help: "A file with the raw request, or - for standard input.")
    var request: String?
    @Option(name: .long, help: "A curl command line instead.") var curl: String?
    @Option(name: .long, help: "The moment to judge by: seconds since 1970 or RFC 3339.")
    var at: String?
    @Option(name: .long, help: "Not in this version.") var receipt: String?
    @Flag(name: .long, help: "Print JSON.") var json = false

    func validate() throws {
        if receipt != nil { throw ValidationError("--receipt is not in this version") }
        guard (request == nil) != (curl == nil) else {
            throw ValidationError("one of --request and --curl is needed")
        }
    }

    func run() throws {
        let now = try moment()
        let bytes: [UInt8]
        if let curl {
            bytes = try CurlCommand(curl).request
        } else {
            bytes = RawRequest.repaired(try InputFile.read(request ?? "-")) {
                Diagnostics.write($0)
            }
        }
        let access = try StoreAccess(options)
        let explanation: RequestExplanation
        let state = try access.perform(.snapshot)
        do throws(StartError) {
            explanation = try RequestExplanation(
                of: bytes, configuration: access.configuration,
                state: state, at: now)
        } catch {
            throw error.exit
        }
        if json { return show(explanation) }
        for step in explanation.steps {
            print("\(step.phase.rawValue):")
            for line in step.lines { print("    \(line)") }
        }
        if let reason = explanation.reason {
            print("verdict: refused, \(explanation.status ?? 0) \(reason.rawValue)")
        } else {
            print("verdict: passes")
        }
    }

    private func show(_ explanation: RequestExplanation) {
        let steps = explanation.steps.map { step in
            ["phase": step.phase.rawValue, "lines": step.lines] as [String: Any]
        }
        var verdict: [String: Any] = ["passes": explanation.reason == nil]
        if let reason = explanation.reason { verdict["reason"] = reason.rawValue }
        if let status = explanation.status { verdict["status"] = status }
        Output.json(["steps": steps, "verdict": verdict])
    }

    private func moment() throws -> WallTime {
        guard let at else { return WallTime.now() }
        if let seconds = Int64(at) { return WallTime(seconds: seconds) }
        guard let date = ISO8601DateFormatter().date(from: at) else {
            throw ValidationError("--at \(at): seconds since 1970 or RFC 3339")
        }
        return WallTime(seconds: Int64(date.timeIntervalSince1970))
    }
}

/// A request as people paste it.
enum RawRequest {
    /// Makes CR LF of the LF line ends that editors and clipboards leave in a head, and says so. The gateway itself
    /// refuses them.
    static func repaired(_ bytes: [UInt8], say: (String) -> Void) -> [UInt8] {
        guard let firstLine = bytes.firstIndex(of: 0x0A) else { return bytes }
        if firstLine > 0, bytes[firstLine - 1] == 0x0D { return bytes }
        say("the head's lines end with LF alone, as an editor leaves them: taken for CR LF")
        var output: [UInt8] = []
        var index = 0
        var isLineEmpty = true
        while index < bytes.count {
            if bytes[index] == 0x0A {
                output += [0x0D, 0x0A]
                if isLineEmpty { return output + bytes[(index + 1)...] }
                isLineEmpty = true
            } else {
                output.append(bytes[index])
                isLineEmpty = false
            }
            index += 1
        }
        // A head that a person left without its empty line.
        return output + (isLineEmpty ? [0x0D, 0x0A] : [0x0D, 0x0A, 0x0D, 0x0A])
    }
}
