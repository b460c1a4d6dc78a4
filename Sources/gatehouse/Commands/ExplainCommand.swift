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
    @Option(name: .long, help: "The listener that the request comes in on; the first by default.")
    var listener: String?
    @Option(name: .long, help: "The client's address, for allow and deny lines.")
    var from: String?
    @Option(
        name: .long,
        help: "The certificate (PEM) that the client's connection shows; its chain is not judged.")
    var certificate: String?
    @Option(name: .long, help: "Not in this version.") var receipt: String?
    @Flag(name: .long, help: "Print JSON.") var json = false

    func validate() throws {
        if receipt != nil { throw ValidationError("--receipt is not in this version") }
        guard (request == nil) != (curl == nil) else {
            throw ValidationError("one of --request and --curl is needed")
        }
        if let from, IPAddress(from) == nil { throw ValidationError("--from \(from): no address") }
    }

    func run() throws {
        let now = try Moment.read(at)
        let bytes: [UInt8]
        if let curl {
            bytes = try CurlCommand(curl).request
        } else {
            bytes = RawRequest.repaired(try InputFile.read(request ?? "-"), Diagnostics.write)
        }
        let pem = try certificate.map { try InputFile.read($0) }
        let facts = try CurrentFacts(options)
        if let listener, !facts.configuration.listeners.contains(where: { $0.name == listener }) {
            throw ValidationError("--listener \(listener): the conf has no such listener")
        }
        let explanation: RequestExplanation
        do throws(StartError) {
            explanation = try RequestExplanation(
                of: bytes, configuration: facts.configuration, facts: facts.facts,
                listener: listener, from: from.flatMap(IPAddress.init), certificate: pem, at: now)
        } catch {
            throw error.exit
        }
        if json { return try Output.json(object(explanation)) }
        for step in explanation.steps {
            try Output.write("\(step.phase.rawValue):")
            for line in step.lines { try Output.write("    \(line)") }
        }
        try Output.write(verdict(explanation))
    }

    private func verdict(_ explanation: RequestExplanation) -> String {
        if let undecided = explanation.undecided { return "verdict: undecided, \(undecided)" }
        guard let reason = explanation.reason, let status = explanation.status else {
            return "verdict: passes"
        }
        let told = explanation.publicReason ?? reason.rawValue
        return "verdict: refused, \(status) \(reason.rawValue)"
            + (told == reason.rawValue ? "" : " (the client is told \(told))")
    }

    private func object(_ explanation: RequestExplanation) -> [String: Any] {
        let steps = explanation.steps.map { step in
            ["phase": step.phase.rawValue, "lines": step.lines] as [String: Any]
        }
        var verdict: [String: Any] = [
            "passes": explanation.reason == nil && explanation.undecided == nil
        ]
        if let undecided = explanation.undecided { verdict["undecided"] = undecided }
        if let reason = explanation.reason { verdict["reason"] = reason.rawValue }
        if let told = explanation.publicReason { verdict["public_reason"] = told }
        if let status = explanation.status { verdict["status"] = status }
        return ["steps": steps, "verdict": verdict]
    }
}

/// A request as people paste it.
enum RawRequest {
    /// Makes CR LF of the LF line ends that editors and clipboards leave in a head, and says so. The gateway itself
    /// refuses them.
    static func repaired(_ bytes: [UInt8], _ say: (String) -> Void) -> [UInt8] {
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
