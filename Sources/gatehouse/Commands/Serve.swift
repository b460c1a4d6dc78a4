import ArgumentParser
import Gateway

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the gateway.")

    @OptionGroup var options: ConfigOption

    func run() throws {
        let server: GatewayServer
        do throws(StartError) {
            server = try GatewayServer(configurationPath: options.config)
        } catch {
            throw error.exit
        }
        let code = server.run()
        if code != 0 { throw ExitCode(code) }
    }
}
