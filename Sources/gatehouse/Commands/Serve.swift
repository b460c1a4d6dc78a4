import ArgumentParser
import Gateway

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the gateway.")

    @OptionGroup var options: ConfigOption
    @Option(
        name: .long, parsing: .upToNextOption,
        help: ArgumentHelp(
            "A drill: start as if it were away. Repeatable.", valueName: "issuer NAME"))
    var without: [String] = []

    func run() throws {
        let server: GatewayServer
        do throws(StartError) {
            server = try GatewayServer(
                configurationPath: options.config, drill: try Drill(words: without))
        } catch {
            throw error.exit
        }
        let code = server.run()
        if code != 0 { throw ExitCode(code) }
    }
}
