//! The daemon; everything it does is in the library.

fn main() -> std::process::ExitCode {
    fdbrokerd::main()
}
