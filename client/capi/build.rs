//! Names the shared library's interface, so that a program is not run with one that it was not linked with.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libescrow.so.0");
    println!("cargo:rerun-if-changed=build.rs");
}
