//! The command `fdbroker`; everything that it does is in the library of this crate.

fn main() -> std::process::ExitCode {
    fdbroker_cli::main()
}
