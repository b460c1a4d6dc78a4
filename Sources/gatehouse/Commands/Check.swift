import ArgumentParser
import Configuration
import Gateway

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Report every mistake of the conf file.")

    @OptionGroup var options: ConfigOption
    @Flag(help: "Print the effective conf.")
    var print = false

    func run() throws {
        let configuration: Configuration
        do throws(StartError) {
            configuration = try ConfigurationFile.load(options.config) { Diagnostics.write($0) }
            try ConfigurationFile.checkMaterial(configuration)
        } catch {
            throw error.exit
        }
        if print {
            Swift.print(configuration.printed(), terminator: "")
        } else {
            Swift.print("\(options.config): ok")
        }
    }
}
