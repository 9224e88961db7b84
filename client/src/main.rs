//! The command `fdbroker`; everything it does is in the library's `command` module.

fn main() -> std::process::ExitCode {
    fdbroker::command::main()
}
